"""Scores against figures worked out by hand."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retune.data.example.labels import canonical, parse_object
from retune.evaluation.correctness import detect_task, right_answers
from retune.evaluation.examples import Answer
from retune.evaluation.labels import are_labels, confusion, label_scores
from retune.evaluation.scorers import Scores, label_columns, score_answers


def answer(expected: str, content: str | None, **values: Any) -> Answer:
    error = None if content is not None else "500: no"
    return Answer(index=0, prompt=[], expected=expected, content=content, **{"error": error, **values})


LABELS = [
    answer("cat", " cat\n", latency_seconds=0.1, prompt_tokens=5, completion_tokens=1),
    answer("cat", "dog", latency_seconds=0.2, prompt_tokens=5, completion_tokens=1),
    answer("dog", "dog", latency_seconds=0.3, prompt_tokens=6),
    answer("dog", "Dog", latency_seconds=0.4),
    answer("dog", None),
    answer("cat", "I think it is a cat", latency_seconds=1.0),
]


def test_short_repeated_answers_are_scored_as_labels() -> None:
    scores = score_answers(LABELS)

    assert scores.task == "label"
    assert (scores.n, scores.n_answered, scores.n_errors, scores.commonest_error) == (6, 5, 1, "500: no")
    assert scores.exact_match == scores.accuracy == pytest.approx(2 / 6)
    # cat: p 1/1, r 1/3 -> 1/2; dog: p 1/2, r 1/3 -> 2/5. Answers that are no label only cost recall.
    assert scores.macro_f1 == pytest.approx((1 / 2 + 2 / 5) / 2)
    assert scores.valid_json_rate is None
    assert scores.field_accuracy is None
    assert scores.latency_p50_seconds == pytest.approx(0.3)
    assert scores.latency_p95_seconds == pytest.approx(0.4 + 0.8 * 0.6)
    assert (scores.prompt_tokens, scores.completion_tokens) == (16, 2)


def test_confusion_and_label_scores() -> None:
    (column,) = label_columns(LABELS)

    matrix = confusion(column)
    assert matrix.labels == ["cat", "dog"]
    assert matrix.counts == [[1, 1, 1], [0, 1, 2]]

    cat, dog = label_scores(column)
    assert (cat.label, cat.precision, cat.n_expected) == ("cat", 1.0, 3)
    assert cat.recall == pytest.approx(1 / 3)
    assert (dog.label, dog.precision) == ("dog", 0.5)
    assert dog.f1 == pytest.approx(0.4)


def test_json_answers_are_compared_by_value() -> None:
    answers = [
        answer('{"intent": "refund", "urgency": 1}', '{"urgency":1.0,\n"intent":"refund"}'),
        answer('{"intent": "refund", "urgency": 2}', '{"intent": "refund", "urgency": true}'),
        answer('{"intent": "login", "urgency": 1}', '```json\n{"intent": "login", "urgency": 1}\n```'),
        answer('{"intent": "login", "urgency": 2}', None),
    ]

    scores = score_answers(answers)

    assert scores.task == "json"
    assert right_answers(answers) == [True, False, False, False]
    assert scores.exact_match == 0.25
    assert scores.field_accuracy == {"intent": 0.5, "urgency": 0.25}
    assert scores.accuracy == pytest.approx(3 / 8)
    assert scores.valid_json_rate == 0.5
    # intent: refund 1, login 0. urgency: 1 has p 1/1, r 1/2 -> 2/3; 2 has 0.
    assert scores.field_macro_f1 == {"intent": 0.5, "urgency": pytest.approx(1 / 3)}
    assert scores.macro_f1 == pytest.approx((0.5 + 1 / 3) / 2)
    assert [column.name for column in label_columns(answers)] == ["intent", "urgency"]


def test_json_fields_that_do_not_repeat_have_accuracy_and_no_f1() -> None:
    answers = [answer(json.dumps({"id": i, "kind": "a"}), json.dumps({"id": i, "kind": "a"})) for i in range(4)]

    scores = score_answers(answers)

    assert scores.field_accuracy == {"id": 1.0, "kind": 1.0}
    assert scores.field_macro_f1 == {"kind": 1.0}
    assert scores.accuracy == scores.macro_f1 == scores.exact_match == 1.0


def test_a_field_counts_only_where_it_is_expected() -> None:
    answers = [answer('{"a": 1}', '{"a": 1, "b": 2}'), answer('{"b": null}', "{}"), answer('{"b": null}', '{"b":null}')]

    scores = score_answers(answers)

    assert scores.field_accuracy == {"a": 1.0, "b": 0.5}
    assert scores.exact_match == pytest.approx(1 / 3)


def test_long_answers_are_scored_as_text() -> None:
    answers = [answer("One long answer.", "One long answer. "), answer("Another one.", "another one.")]

    scores = score_answers(answers)

    assert scores.task == "text"
    assert scores.exact_match == 0.5
    assert (scores.accuracy, scores.macro_f1, scores.valid_json_rate) == (None, None, None)
    assert label_columns(answers) == []


def test_no_answers_give_empty_scores() -> None:
    assert score_answers([]) == Scores(task="text", n=0, n_answered=0, n_errors=0)


def test_a_model_that_answers_nothing() -> None:
    scores = score_answers([answer("cat", None), answer("cat", None, error="404 model_not_found: gone")] * 2)

    assert (scores.n_answered, scores.exact_match, scores.macro_f1) == (0, 0.0, 0.0)
    assert scores.latency_p50_seconds is None
    assert scores.prompt_tokens is None


def test_scores_survive_json() -> None:
    scores = score_answers(LABELS)

    assert Scores.model_validate_json(scores.model_dump_json()) == scores


@pytest.mark.parametrize(
    ("expected", "task"),
    [
        (["yes", "no", "yes", "no"], "label"),
        (["yes", "yes"], "label"),
        (["yes", "no"], "text"),
        (["yes"], "text"),
        (["two\nlines"] * 4, "text"),
        (["x" * 101] * 4, "text"),
        (['{"a": 1}', '{"a": 1}'], "json"),
        (['{"a": 1}'], "json"),
        (['{"a": 1}', "[1]"], "text"),
        (["[1]", "[1]"], "labels"),
        ([], "text"),
    ],
)
def test_task_detection(expected: list[str], task: str) -> None:
    assert detect_task([answer(text, None) for text in expected]) == task


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", '{"a": NaN}', '{"a": Infinity}', "[" * 100_000, '{"a": 1} done', None]
)
def test_text_other_than_a_json_object_is_not_parsed(text: str | None) -> None:
    assert parse_object(text) is None


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=4), st.booleans())
def test_canonical_json_does_not_depend_on_how_it_is_written(value: dict[str, Any], ascii_only: bool) -> None:
    shuffled = dict(reversed(list(value.items())))
    written = json.dumps(shuffled, ensure_ascii=ascii_only, indent=3)

    assert canonical(parse_object(written)) == canonical(parse_object(json.dumps(value)))


def test_json_types_stay_apart() -> None:
    assert len({canonical(value) for value in (True, 1, "1", "true", None, [1], {"1": 1})}) == 7


WORDS = st.sampled_from(["a", "b", "c", " a", "other", ""])


@given(st.lists(st.tuples(WORDS, st.none() | WORDS), min_size=1, max_size=30))
def test_scores_are_fractions_and_the_confusion_holds_every_example(pairs: list[Any]) -> None:
    answers = [answer(expected, content) for expected, content in pairs]
    scores = score_answers(answers)

    assert scores.exact_match == sum(right_answers(answers)) / len(answers)
    assert scores.n_answered + scores.n_errors == scores.n
    for column in label_columns(answers):
        matrix = confusion(column)
        assert sum(map(sum, matrix.counts)) == len(answers)
        assert sum(matrix.counts[i][i] for i in range(len(matrix.labels))) == sum(right_answers(answers))
        assert scores.macro_f1 is not None
        assert 0 <= scores.macro_f1 <= 1


@given(st.lists(st.text(max_size=3), max_size=20))
def test_adding_what_is_already_there_never_makes_labels_prose(values: list[str]) -> None:
    if are_labels(values):
        assert are_labels(values + values)
