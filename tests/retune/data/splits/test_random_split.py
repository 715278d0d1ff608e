from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split
from split_keys import AskedRow, make_keys, rows_by_split

from retune.config import SplitConfig, SplitMethod
from retune.data.splits.keys import TEST, TRAIN, VALIDATION
from retune.data.splits.split import assign
from retune.errors import DataError

RANDOM = SplitMethod.RANDOM


def different_questions(count: int) -> list[AskedRow]:
    return [AskedRow(number) for number in range(count)]


def test_the_classic_gives_the_same_rows_as_scikit_learn_alone() -> None:
    rows = [f"row {number}" for number in range(403)]
    kept, held_out = train_test_split(rows, test_size=0.25, random_state=42)
    config = SplitConfig(method=RANDOM, test=0.25, validation=0, seed=42)
    train, _, test = rows_by_split(assign(make_keys(different_questions(403), 42), config))
    assert {rows[index] for index in train} == set(kept)
    assert {rows[index] for index in test} == set(held_out)


@settings(deadline=None)
@given(st.integers(2, 300), st.floats(0.001, 0.999), st.integers(0, 2**31 - 1))
def test_every_fraction_gives_the_same_rows_as_scikit_learn_alone(count: int, fraction: float, seed: int) -> None:
    config = SplitConfig(method=RANDOM, test=fraction, validation=0, seed=seed)
    _, _, test = rows_by_split(assign(make_keys(different_questions(count), seed), config))
    if np.ceil(fraction * count) == count:
        assert len(test) == count
    else:
        _, held_out = train_test_split(range(count), test_size=fraction, random_state=seed)
        assert test == sorted(held_out)


def test_a_number_of_examples_gives_the_same_rows_as_scikit_learn_alone() -> None:
    _, held_out = train_test_split(range(400), test_size=31, random_state=7)
    config = SplitConfig(method=RANDOM, test=31, validation=0, seed=7)
    assert rows_by_split(assign(make_keys(different_questions(400), 7), config))[2] == sorted(held_out)


def test_a_number_of_examples_is_one_of_questions_where_some_come_again() -> None:
    rows = [AskedRow(number // 4) for number in range(400)]
    config = SplitConfig(method=RANDOM, test=40, validation=20)
    assert np.bincount(assign(make_keys(rows, 42), config)).tolist() == [0, 340, 20, 40]


def labelled(**counts: Any) -> list[AskedRow]:
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [AskedRow(number, label) for number, label in enumerate(labels)]


def mixture(rows: list[AskedRow], splits: npt.NDArray[Any], split_index: int) -> dict[str, int]:
    return {
        label: sum(row.answer == label and here == split_index for row, here in zip(rows, splits.tolist(), strict=True))
        for label in {row.answer for row in rows}
    }


def test_stratified_splits_have_the_same_mixture() -> None:
    rows = labelled(a=600, b=300, c=100)
    notes: list[str] = []
    config = SplitConfig(method=RANDOM, stratify=True, validation=0.1, test=0.2)
    splits = assign(make_keys(rows, 42, is_stratified=True), config, on_note=notes.append)
    assert mixture(rows, splits, TEST) == {"a": 120, "b": 60, "c": 20}
    assert mixture(rows, splits, VALIDATION) == {"a": 60, "b": 30, "c": 10}
    assert notes == []


def test_labels_too_rare_for_every_split_stay_in_train_and_that_is_said() -> None:
    rows = labelled(a=60, b=30, once=1, again=1)
    notes: list[str] = []
    config = SplitConfig(method=RANDOM, stratify=True, validation=0.1, test=0.2)
    splits = assign(make_keys(rows, 42, is_stratified=True), config, on_note=notes.append)
    for split_index in (VALIDATION, TEST):
        held_out = mixture(rows, splits, split_index)
        assert (held_out["once"], held_out["again"]) == (0, 0)
        assert held_out["a"] == pytest.approx(2 * held_out["b"], abs=2)
    assert notes == ["2 labels are too rare to be in every split; examples of them may be in train alone."]


def test_rarest_labels_stay_in_train_if_too_few_are_held_out() -> None:
    rows = labelled(a=60, b=30, c=10, d=5, e=5)
    notes: list[str] = []
    config = SplitConfig(method=RANDOM, stratify=True, validation=0, test=2)
    splits = assign(make_keys(rows, 42, is_stratified=True), config, on_note=notes.append)
    assert mixture(rows, splits, TEST) == {"a": 1, "b": 1, "c": 0, "d": 0, "e": 0}
    assert notes == ["3 labels are too rare to be in every split; examples of them may be in train alone."]


def test_answers_that_are_no_labels_can_not_be_stratified_by() -> None:
    rows = [AskedRow(number, f"answer {number}") for number in range(100)]
    config = SplitConfig(method=RANDOM, stratify=True)
    with pytest.raises(DataError) as caught:
        assign(make_keys(rows, 42, is_stratified=True), config)
    assert str(caught.value) == (
        "Can't stratify: 100 questions have 100 different labels, and none of them is frequent enough to be on both "
        "sides when 10 are held out. Name a column with few different values as stratify_column, hold out more, or "
        "don't stratify."
    )


LABELLED = st.lists(st.tuples(st.integers(0, 60), st.sampled_from("aaaabbcdefgh")), min_size=1, max_size=60).map(
    lambda pairs: [AskedRow(*pair) for pair in pairs]
)
SHARES = st.sampled_from([0.0, 0.05, 0.2, 0.45, 1.0, 7.0])


@settings(deadline=None)
@given(LABELLED, SHARES, SHARES, st.integers(0, 1000))
def test_any_labels_are_split_or_refused_with_a_reason(
    rows: list[AskedRow], validation: float, test: float, seed: int
) -> None:
    config = SplitConfig(method=RANDOM, stratify=True, validation=validation, test=test, seed=seed)
    # A DataError is a ValueError, as are scikit-learn's own.
    try:
        splits = assign(make_keys(rows, seed, is_stratified=True), config)
    except DataError:
        return
    by_question: dict[int, int] = {}
    for row, split_index in zip(rows, splits.tolist(), strict=True):
        assert split_index in (TRAIN, VALIDATION, TEST)
        assert by_question.setdefault(row.question, split_index) == split_index
    if test == 0:
        assert TEST not in splits
