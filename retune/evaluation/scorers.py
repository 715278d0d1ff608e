"""How good answers are: exact match, labels, JSON fields, speed and tokens."""

import math
from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from retune.data.example.labels import parse_labels, parse_object
from retune.evaluation.correctness import Task, detect_task, equal_answers
from retune.evaluation.examples import Answer
from retune.evaluation.label_sets import label_set_scores, micro_f1, right_sets
from retune.evaluation.labels import LabelColumn, accuracy, are_labels, field_columns, label_column, macro_f1
from retune.evaluation.measures import score_intervals
from retune.evaluation.statistics import Interval
from retune.evaluation.text_similarity import chrf


class Scores(BaseModel):
    """What one model is worth on the test split. A score is None where it does not apply or nothing was measured.

    An example without an answer counts as wrong in every score of quality; speed and tokens are of the answered ones.

    Attributes:
        task: `json`: every expected answer is a JSON object; `labels`: every one is a JSON list of words that clearly
            repeat; `label`: they are short and clearly repeat; else `text`.
        n: Examples.
        n_answered: Examples with a text for an answer.
        n_errors: The others.
        n_refused: Examples that the model refused; they are among the answered ones, and hardly ever right.
        commonest_error: The error that most of them carry.
        exact_match: Fraction equal to the expected answer: JSON objects by value, texts without the space around them.
        accuracy: `label`: the same as exact match. `json`: right fields / fields of all expected answers.
        sets_right: `labels`: fraction that names exactly the expected labels, in any order (scikit-learn's
            `accuracy_score` of multilabel indicators, known as subset accuracy).
        micro_f1: `labels`: F1 over all labels of all examples together; see `label_sets.micro_f1`.
        macro_f1: `label` and `labels`: mean of every expected label's F1. `json`: mean of `field_macro_f1`.
        field_accuracy: For each field, right values / expected answers that have the field.
        field_macro_f1: For each field whose values are labels, the mean of every label's F1.
        valid_json_rate: `json`: fraction of all examples answered with a JSON object and nothing around it. `labels`:
            likewise, with a JSON list of words or numbers.
        chrf: `text`: mean chrF, 0 to 1; see `text_similarity.chrf`.
        intervals: 95 % interval of each score of quality, by its name; `field_accuracy.intent` for one field. Formulas
            are in `retune.evaluation.statistics`.
        latency_p50_seconds: Median over the answered examples.
        latency_p95_seconds: 95th percentile, linear between neighbours.
        prompt_tokens: Sum, as the provider counted.
        completion_tokens: Likewise.
    """

    model_config = ConfigDict(frozen=True)

    task: Task
    n: int
    n_answered: int
    n_errors: int
    n_refused: int = 0
    commonest_error: str | None = None
    exact_match: float | None = None
    accuracy: float | None = None
    sets_right: float | None = None
    micro_f1: float | None = None
    macro_f1: float | None = None
    field_accuracy: dict[str, float] | None = None
    field_macro_f1: dict[str, float] | None = None
    valid_json_rate: float | None = None
    chrf: float | None = None
    intervals: dict[str, Interval] = {}
    latency_p50_seconds: float | None = None
    latency_p95_seconds: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def label_columns(answers: Sequence[Answer]) -> list[LabelColumn]:
    """What can be told as labels: the whole answer, or the fields of JSON answers whose values repeat."""
    task = detect_task(answers)
    if task == "label":
        return [label_column(answers)]
    return [column for column in field_columns(answers) if are_labels(column.expected)] if task == "json" else []


def score_answers(answers: Sequence[Answer]) -> Scores:
    """Score a model's answers; the formulas stand with the attributes of `Scores`."""
    task = detect_task(answers)
    answered = [answer for answer in answers if answer.content is not None]
    errors = Counter(answer.error or "no text" for answer in answers if answer.content is None)
    latencies = [answer.latency_seconds for answer in answered if answer.latency_seconds is not None]
    measured = Scores(
        task=task,
        n=len(answers),
        n_answered=len(answered),
        n_errors=errors.total(),
        n_refused=sum(answer.refused for answer in answered),
        commonest_error=errors.most_common(1)[0][0] if errors else None,
        exact_match=_mean(equal_answers(answers, task)),
        intervals=score_intervals(answers),
        latency_p50_seconds=_percentile(latencies, 50),
        latency_p95_seconds=_percentile(latencies, 95),
        prompt_tokens=_total([answer.prompt_tokens for answer in answered]),
        completion_tokens=_total([answer.completion_tokens for answer in answered]),
    )
    if task == "label":
        column = label_column(answers)
        return measured.model_copy(update={"accuracy": accuracy(column), "macro_f1": macro_f1(column)})
    if task == "labels":
        return measured.model_copy(update=_label_set_scores(answers))
    if task == "json":
        return measured.model_copy(update=_json_scores(answers))
    return measured.model_copy(update={"chrf": chrf(answers).score}) if answers else measured


def _label_set_scores(answers: Sequence[Answer]) -> dict[str, object]:
    f1 = [score.f1 for score in label_set_scores(answers)]
    return {
        "sets_right": _mean(right_sets(answers)),
        "micro_f1": micro_f1(answers),
        "macro_f1": math.fsum(f1) / len(f1),
        "valid_json_rate": _mean([parse_labels(answer.content) is not None for answer in answers]),
    }


def _json_scores(answers: Sequence[Answer]) -> dict[str, object]:
    columns = field_columns(answers)
    field_accuracy = {column.name: accuracy(column) for column in columns}
    field_f1 = {column.name: f1 for column in columns if (f1 := macro_f1(column)) is not None}
    n_fields = sum(len(column.expected) for column in columns)
    n_right = sum(field_accuracy[column.name] * len(column.expected) for column in columns)
    return {
        "accuracy": n_right / n_fields if n_fields else None,
        "macro_f1": math.fsum(field_f1.values()) / len(field_f1) if field_f1 else None,
        "field_accuracy": field_accuracy,
        "field_macro_f1": field_f1,
        "valid_json_rate": _mean([parse_object(answer.content) is not None for answer in answers]),
    }


def _mean(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _total(values: Sequence[int | None]) -> int | None:
    counted = [value for value in values if value is not None]
    return sum(counted) if counted else None


def _percentile(values: Sequence[float], percent: float) -> float | None:
    import numpy as np  # noqa: PLC0415 - takes a tenth of a second to import

    return float(np.percentile(values, percent)) if values else None
