import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_stores import chat, make_store
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.near_duplicates.keys import shingles, similarity, words_of
from retune.data.near_duplicates.pairs import Asked, compare, find_candidates, prompt_similarity

TRAIN, VALIDATION, TEST = (SPLITS.index(name) for name in SPLITS[1:])
PARCEL = "Hello, my parcel {number} was due last Tuesday and has not arrived at my door, where is it now?"


def asked(text: str, answer: str = "x") -> Asked:
    return Asked(text, words_of([text]), answer)


def pairs(store: ExampleStore, sides: list[int], **options: Any) -> list[tuple[int, int, float]]:
    splits = np.array(sides, np.uint8)
    found = compare(store, find_candidates(store, splits, store.column("sound").astype(np.bool_), **options))
    return [(pair.held_out, pair.other, round(pair.similarity, 2)) for pair in found]


def test_words_are_without_case_and_marks() -> None:
    assert words_of(["My top-up isn't\nthere!", "WHY? …"]) == ["my", "top", "up", "isn", "t", "there", "why"]


def test_scripts_without_spaces_go_by_characters() -> None:
    assert words_of(["卡丢了, help"]) == ["卡", "丢", "了", "help"]
    assert words_of(["カードを無くした"]) == list("カードを無くした")
    assert words_of(["내 카드를 잃어버렸어요"]) == ["내", "카드를", "잃어버렸어요"]
    lost, lost_too = words_of(["我的银行卡昨天在超市丢了怎么办"]), words_of(["我的银行卡今天在超市丢了怎么办"])
    assert similarity(lost, lost_too) == pytest.approx(13 / 17)


def test_very_long_texts_are_compared_by_their_first_words() -> None:
    assert len(words_of(["word " * 30_000])) == 20_000


WORDS = st.lists(st.sampled_from("abcd"), max_size=8)


@settings(deadline=None)
@given(WORDS, WORDS)
def test_similarity_is_jaccards(one: list[str], other: list[str]) -> None:
    here, there = shingles(one), shingles(other)
    expected = len(here & there) / len(here | there) if here | there else 0
    assert similarity(one, other) == pytest.approx(expected)
    assert similarity(one, other) == similarity(other, one)


def test_numbers_count_as_the_same_where_the_answer_is_the_same() -> None:
    one, other = "Where is order 123?", "Where is order 4567?"
    assert prompt_similarity(asked(one, "order_status"), asked(other, "order_status")) == 1
    assert prompt_similarity(asked(one, "In Hamburg."), asked(other, "In Kiel.")) == 0
    assert prompt_similarity(asked("What is 3 + 4?", "7"), asked("What is 5 + 2?", "7")) == 0


def test_a_template_is_a_near_duplicate_where_its_number_changes_nothing(tmp_path: Path) -> None:
    bodies = [chat(PARCEL.format(number=number), "order_status") for number in (1234, 98765)]
    assert pairs(make_store(tmp_path, bodies), [TRAIN, TEST]) == [(1, 0, 1.0)]


def test_a_template_is_none_where_the_answer_depends_on_its_number(tmp_path: Path) -> None:
    bodies = [chat(PARCEL.format(number=number), f"In the van {number}.") for number in (1234, 98765)]
    assert pairs(make_store(tmp_path, bodies), [TRAIN, TEST]) == []


def test_a_number_that_changes_the_answer_elsewhere_matters(tmp_path: Path) -> None:
    answers = ["heating", "lighting", "heating"]
    bodies = [chat(PARCEL.format(number=number), answer) for number, answer in enumerate(answers, start=101)]
    store = make_store(tmp_path, bodies)
    assert pairs(store, [TRAIN, TRAIN, TEST]) == []
    assert pairs(store, [TRAIN, TEST, TEST]) == []


@pytest.fixture
def questions() -> list[str]:
    return [
        "Why has my card payment been declined at the shop today?",
        "why has my card payment been declined at the shop today",
        "How do I order a new card from abroad?",
        "Why has my card payment been declined at the shop today, please?",
    ]


def test_held_out_examples_are_compared_with_other_sides_alone(tmp_path: Path, questions: list[str]) -> None:
    store = make_store(tmp_path, [chat(question, "a") for question in questions])
    assert pairs(store, [TRAIN, TEST, TEST, TRAIN])[0][:2] == (1, 0)
    assert pairs(store, [TEST, TEST, TRAIN, TEST]) == []
    assert pairs(store, [TRAIN, TRAIN, TRAIN, TRAIN]) == []
    assert [pair[:2] for pair in pairs(store, [VALIDATION, TEST, TRAIN, TEST])] == [(1, 0), (3, 0)]


def test_examples_with_errors_or_without_a_side_are_left_out(tmp_path: Path, questions: list[str]) -> None:
    bodies = [chat(questions[0], ""), chat(questions[1], "a")]
    assert pairs(make_store(tmp_path, bodies), [TRAIN, TEST]) == []


def test_only_some_of_very_many_are_compared(tmp_path: Path) -> None:
    bodies = [chat("Why has my card payment been declined at the shop today?" + "!" * n, "a") for n in range(50)]
    store = make_store(tmp_path, bodies)
    splits = np.array([TRAIN] * 25 + [TEST] * 25, np.uint8)
    candidates = find_candidates(store, splits, np.ones(50, np.bool_), most=5)
    assert candidates.n_found == 25
    assert candidates.held_out.tolist() == [25, 26, 27, 28, 29]
    assert candidates.partners.shape[1] <= 5
    assert len(compare(store, candidates)) == 5


def test_reinforcement_examples_have_no_answers_to_compare(tmp_path: Path, questions: list[str]) -> None:
    bodies = [{"messages": [{"role": "user", "content": question}], "answer": 1} for question in questions]
    store = make_store(tmp_path, bodies, method="reinforcement")
    assert pairs(store, [TRAIN, TEST, TRAIN, TRAIN]) == [(1, 0, 1.0)]


def test_few_pairs_are_missed_and_none_is_invented(tmp_path: Path, banking77: Path) -> None:
    with banking77.open(encoding="utf-8", newline="") as stream:
        texts = list(dict.fromkeys(row["text"] for row in csv.DictReader(stream)))[::10]
    longer = [f"{text.strip()} Can you help me?" for text in texts]
    store = make_store(tmp_path, [chat(text, "a") for text in (*texts, *longer)])
    found = pairs(store, [TRAIN] * len(texts) + [TEST] * len(texts))
    parsed = [asked(text) for text in (*texts, *longer)]
    for held_out, other, alike in found:
        assert alike == round(prompt_similarity(parsed[held_out], parsed[other]), 2) >= 0.8
    n = len(texts)
    expected = {index + n for index in range(n) if prompt_similarity(parsed[index], parsed[index + n]) >= 0.8}
    assert len(expected) > 150
    assert len(expected & {held_out for held_out, _, _ in found}) >= 0.9 * len(expected)
