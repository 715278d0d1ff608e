"""chrF of open answers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.chrf import CHRF

from retune.evaluation.examples import Answer
from retune.evaluation.measures import score_differences
from retune.evaluation.scorers import score_answers
from retune.evaluation.text_similarity import chrf

EXPECTED = [
    "Your parcel is on the way.",
    "注文は明日届きます。",
    "我们会退款给您。",
    "We will refund you within a week.",
]
SAID = ["The parcel is on its way.", "注文は届きます。", "不知道。", None]


def answers(contents: list[str | None]) -> list[Answer]:
    pairs = zip(EXPECTED, contents, strict=True)
    return [
        Answer(index=index, prompt=[], expected=expected, content=content)
        for index, (expected, content) in enumerate(pairs)
    ]


def test_it_is_the_mean_of_sacrebleu_s_scores() -> None:
    scores = score_answers(answers(SAID))
    reference = [
        CHRF().sentence_score(content or "", [expected]).score for expected, content in zip(EXPECTED, SAID, strict=True)
    ]
    assert scores.task == "text"
    assert scores.chrf == pytest.approx(sum(reference) / 400, abs=1e-6)
    assert scores.chrf
    low, high = scores.intervals["chrf"]
    assert low < scores.chrf < high


def test_a_nearer_answer_is_a_better_one() -> None:
    expected = [f"{text} ({number})" for text in EXPECTED for number in (1, 2, 3)]
    said = [[Answer(index=0, prompt=[], expected=text, content=text[:n]) for text in expected] for n in (4, 10)]
    found = score_differences(*said)["chrf"]
    assert found.is_certain
    assert found.interval[0] > 0


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_equal_texts_are_wholly_alike_and_others_never_more(expected: str, content: str) -> None:
    one = chrf([Answer(index=0, prompt=[], expected=expected, content=content)]).score
    same = chrf([Answer(index=0, prompt=[], expected=expected, content=expected)]).score
    assert 0 <= one <= same == 1


def test_of_many_examples_evenly_spaced_ones_are_scored() -> None:
    many = [
        Answer(index=index, prompt=[], expected="right", content="right" if index % 3 else None)
        for index in range(6_000)
    ]
    measure = chrf(many)
    assert measure.parts[:, 1].astype(bool).sum() == 2_000
    # Every third one, none of which was answered.
    assert measure.score == 0
