"""Every score of quality, taken apart into what each example adds, gives the score that is shown."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.evaluation.examples import Answer
from retune.evaluation.measures import quality_measures, score_differences
from retune.evaluation.scorers import Scores, score_answers

LABELS = ["billing", "how_to", "repair"]
LABEL = st.sampled_from(LABELS)
SAID = st.one_of(st.none(), st.just("other"), LABEL)
SETS = st.lists(LABEL, max_size=3, unique=True).map(json.dumps)
NOTE = st.sampled_from("abcdef")
OBJECTS = st.fixed_dictionaries({"intent": LABEL}, optional={"urgent": st.booleans(), "note": NOTE})
ANSWERED = st.one_of(st.none(), st.just("x"), OBJECTS.map(json.dumps))
TEXT = st.text("ab ", max_size=3)


def answers(pairs: Sequence[tuple[str, str | None]]) -> list[Answer]:
    return [
        Answer(index=index, prompt=[], expected=expected, content=content)
        for index, (expected, content) in enumerate(pairs)
    ]


def shown(scores: Scores, name: str) -> float | None:
    score, _, field = name.partition(".")
    value: Any = getattr(scores, score)
    found: float | None = value[field] if field else value
    return found


def check(pairs: Sequence[tuple[str, str | None]]) -> None:
    scores = score_answers(answers(pairs))
    measures = quality_measures(answers(pairs))
    for name, measure in measures.items():
        assert measure.score == pytest.approx(shown(scores, name)), name
        low, high = scores.intervals[name]
        assert 0 <= low <= high <= 1
    quality = ("exact_match", "accuracy", "sets_right", "micro_f1", "macro_f1", "valid_json_rate", "chrf")
    assert {name for name in quality if getattr(scores, name) is not None} == {
        name for name in measures if "." not in name
    }


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(LABEL, SAID), min_size=6, max_size=30))
def test_labels(pairs: list[tuple[str, str | None]]) -> None:
    check(pairs)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(SETS, st.one_of(st.none(), st.just("x"), SETS)), min_size=6, max_size=30))
def test_lists_of_labels(pairs: list[tuple[str, str | None]]) -> None:
    check(pairs)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(OBJECTS.map(json.dumps), ANSWERED), max_size=30))
def test_json_objects(pairs: list[tuple[str, str | None]]) -> None:
    check(pairs)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(TEXT, st.one_of(st.none(), TEXT)), max_size=20))
def test_texts(pairs: list[tuple[str, str | None]]) -> None:
    check(pairs)


def test_only_examples_with_the_field_count() -> None:
    pairs = [('{"a": 1, "b": 1}', '{"a": 1}'), ('{"a": 2}', '{"a": 2, "b": 1}')] * 5
    measures = quality_measures(answers(pairs))
    assert measures["field_accuracy.b"].parts.sum(axis=0).tolist() == [0, 5]
    assert measures["field_accuracy.a"].score == 1


def test_differences_are_those_of_the_second_model() -> None:
    expected = ["yes", "no"] * 20
    first = answers([(text, "yes") for text in expected])
    second = answers([(text, text) for text in expected])
    found = score_differences(first, second)
    assert set(found) == {"exact_match", "accuracy", "macro_f1"}
    assert (found["exact_match"].n_first_only, found["exact_match"].n_second_only) == (0, 20)
    assert all(one.is_certain and one.interval[0] > 0 for one in found.values())


def test_thousands_of_labels_have_no_interval_of_their_mean() -> None:
    expected = [f"label {number // 2}" for number in range(3_000)]
    scores = score_answers(answers([(text, text) for text in expected]))
    assert scores.macro_f1 == 1
    assert "macro_f1" not in scores.intervals
    assert "accuracy" in scores.intervals
