"""What the terminal, the report and the artifact show."""

import pytest

from retune.evaluation.comparison import ComparisonRow, compare, comparison_notes, format_seconds
from retune.evaluation.examples import Answer
from retune.evaluation.scorers import Scores, score_answers

BASE = Scores(
    task="json",
    n=40,
    n_answered=38,
    n_errors=2,
    commonest_error="400: flagged",
    exact_match=0.1,
    accuracy=0.25,
    macro_f1=0.2,
    field_accuracy={"intent": 0.3, "urgency": 0.2},
    field_macro_f1={"intent": 0.2},
    valid_json_rate=0.5,
    latency_p50_seconds=0.85,
    latency_p95_seconds=3.4,
    prompt_tokens=12345,
    completion_tokens=500,
)
FINE_TUNED = BASE.model_copy(
    update={
        "n_answered": 40,
        "n_errors": 0,
        "exact_match": 0.925,
        "field_accuracy": {"intent": 0.95, "urgency": 0.1},
        "latency_p50_seconds": 0.0042,
        "completion_tokens": None,
    }
)


def by_name(base: Scores, fine_tuned: Scores) -> dict[str, ComparisonRow]:
    return {row.name: row for row in compare(base, fine_tuned)}


def test_rows_of_json_answers() -> None:
    rows = by_name(BASE, FINE_TUNED)

    assert list(rows) == [
        "exact_match",
        "accuracy",
        "macro_f1",
        "field_accuracy.intent",
        "field_accuracy.urgency",
        "valid_json_rate",
        "n_answered",
        "latency_p50_seconds",
        "latency_p95_seconds",
        "prompt_tokens",
        "completion_tokens",
    ]
    exact = rows["exact_match"]
    assert (exact.base, exact.fine_tuned, exact.better) == (0.1, 0.925, True)
    assert exact.difference == pytest.approx(0.825)
    assert (exact.base_text, exact.fine_tuned_text, exact.difference_text) == ("10.0%", "92.5%", "+82.5 points")
    assert (rows["accuracy"].better, rows["accuracy"].difference_text) == (None, "±0.0 points")
    assert (rows["field_accuracy.urgency"].better, rows["field_accuracy.urgency"].difference_text) == (
        False,
        "−10.0 points",
    )


def test_less_latency_is_better_and_tokens_are_neither() -> None:
    rows = by_name(BASE, FINE_TUNED)

    latency = rows["latency_p50_seconds"]
    assert latency.better is True
    assert (latency.base_text, latency.fine_tuned_text, latency.difference_text) == ("850 ms", "4.2 ms", "−846 ms")
    assert rows["prompt_tokens"].base_text == "12,345"
    assert rows["completion_tokens"].better is None
    assert (rows["completion_tokens"].fine_tuned_text, rows["completion_tokens"].difference_text) == ("–", "–")


def test_labels_show_their_accuracy_once() -> None:
    label = Scores(task="label", n=4, n_answered=4, n_errors=0, exact_match=0.5, accuracy=0.5, macro_f1=0.4)

    assert list(by_name(label, label)) == ["exact_match", "macro_f1", "n_answered"]


def test_a_base_model_that_cannot_answer_is_shown_as_such() -> None:
    silent = BASE.model_copy(
        update={
            "n_answered": 0,
            "n_errors": 40,
            "commonest_error": "404 model_not_found: gone",
            "exact_match": 0.0,
            "latency_p50_seconds": None,
        }
    )
    rows = by_name(silent, FINE_TUNED)

    exact = rows["exact_match"]
    assert (exact.base, exact.difference, exact.better) == (None, None, None)
    assert (exact.base_text, exact.fine_tuned_text, exact.difference_text) == ("no answer", "92.5%", "–")
    assert rows["n_answered"].base_text == "0"
    assert comparison_notes(silent, FINE_TUNED) == [
        "The base model answered none of the 40 examples: 404 model_not_found: gone"
    ]


def test_notes_name_both_models() -> None:
    assert comparison_notes(BASE, BASE) == [
        "The base model answered 38 of the 40 examples: 400: flagged",
        "The fine-tuned model answered 38 of the 40 examples: 400: flagged",
    ]
    assert comparison_notes(FINE_TUNED, FINE_TUNED) == []


def test_refusals_are_wrong_answers_and_not_errors() -> None:
    refusal = Answer(index=0, prompt=[], expected='{"a": 1}', content="I can't answer so.", refused=True)
    scores = score_answers([refusal, refusal.model_copy(update={"content": '{"a": 1}', "refused": False})])

    assert (scores.n_answered, scores.n_errors, scores.n_refused) == (2, 0, 1)
    assert (scores.exact_match, scores.valid_json_rate) == (0.5, 0.5)
    assert comparison_notes(scores, FINE_TUNED) == [
        "The base model refused 1 of the 2 examples; refusals count as wrong answers."
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0001, "0.1 ms"),
        (0.25, "250 ms"),
        (0.99949, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (125.4, "2 min 5 s"),
        (3599.9, "1 h 0 min"),
        (4320, "1 h 12 min"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
