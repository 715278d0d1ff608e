"""Both models side by side."""

from retune.evaluation.examples import Answer
from retune.results.report_data import report_evaluation, text_of


def pair(index: int, base: str | None, fine_tuned: str | None, expected: str = "yes") -> tuple[Answer, Answer]:
    prompt = [{"role": "user", "content": "?"}]
    return (
        Answer(index=index, prompt=prompt, expected=expected, content=base),
        Answer(index=index, prompt=prompt, expected=expected, content=fine_tuned),
    )


def test_examples_are_grouped_by_which_model_was_right() -> None:
    pairs = [pair(0, "yes", "yes"), pair(1, "no", "yes"), pair(2, "yes", "no"), pair(3, None, None)]

    evaluation = report_evaluation(*zip(*pairs, strict=True))

    assert [row.outcome for row in evaluation.examples] == ["right", "fixed", "broken", "wrong"]
    assert evaluation.outcomes == {"broken": 1, "wrong": 1, "fixed": 1, "right": 1}
    assert evaluation.base.exact_match == evaluation.fine_tuned.exact_match == 0.5


def test_what_went_wrong_is_kept_when_not_all_fit() -> None:
    pairs = [pair(i, "yes", "yes") for i in range(10)] + [pair(10, "no", "yes"), pair(11, "yes", "no")]

    evaluation = report_evaluation(*zip(*pairs, strict=True), most_examples=4)

    assert [row.index for row in evaluation.examples] == [0, 1, 10, 11]
    assert evaluation.outcomes["right"] == 10


def test_long_texts_are_shortened_after_they_were_judged() -> None:
    long = "x" * 5_000
    evaluation = report_evaluation(*zip(pair(0, long, long + " ", expected=long), strict=True))

    (row,) = evaluation.examples
    assert row.outcome == "right"
    assert row.expected.endswith("… (1,000 more characters)")
    assert len(row.expected) < 4_100


def test_content_in_parts_is_shown_as_text() -> None:
    parts = [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "data:"}}, "plain"]

    assert text_of(parts) == "Look:\n[image_url]\nplain"
    assert text_of(None) == ""
    assert text_of("a") == "a"
