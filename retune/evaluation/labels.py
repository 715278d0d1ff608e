"""Answers that repeat, judged as labels: F1 of each, and what is taken for what."""

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from retune.data.example.labels import canonical, parse_object, readable
from retune.evaluation.examples import Answer
from retune.training_lines.keys import JsonObject

# What repeats more rarely, or is longer, is prose: the F1 of a sentence says nothing.
_MOST_DISTINCT = 0.5
_LONGEST_LABEL = 100
_NO_KNOWN_LABEL = -1


class LabelColumn(BaseModel):
    """One thing to be told: the whole answer, or one field of JSON answers.

    Attributes:
        name: The field, or `answer`.
        expected: JSON texts, so that the word "1" and the number 1 stay different labels.
        predicted: Likewise; None where the model gave no such thing.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    expected: list[str]
    predicted: list[str | None]


class LabelScore(BaseModel):
    """How well one label is told from the others.

    Attributes:
        label: For people to read.
        precision: Right among the examples where it was answered; 0 where it never was.
        recall: Right among the examples where it was expected.
        f1: Harmonic mean of the two, 2·p·r / (p + r); 0 where both are 0.
        n_expected: Examples where it was expected.
    """

    model_config = ConfigDict(frozen=True)

    label: str
    precision: float
    recall: float
    f1: float
    n_expected: int


class Confusion(BaseModel):
    """What was answered for each expected label.

    Attributes:
        labels: Expected labels, commonest first.
        counts: counts[i][j]: examples of label i answered as label j; the last column counts any other answer, or none.
    """

    model_config = ConfigDict(frozen=True)

    labels: list[str]
    counts: list[list[int]]


def are_labels(values: Sequence[str]) -> bool:
    """Tell whether values are short and clearly repeat: at most half as many different ones as values."""
    distinct = set(values)
    return len(distinct) <= _MOST_DISTINCT * len(values) and all(
        len(value) <= _LONGEST_LABEL and "\n" not in value for value in distinct
    )


def label_column(answers: Sequence[Answer]) -> LabelColumn:
    """The whole answers as labels, without the space around them."""
    return LabelColumn(
        name="answer",
        expected=[canonical(answer.expected.strip()) for answer in answers],
        predicted=[None if answer.content is None else canonical(answer.content.strip()) for answer in answers],
    )


def field_columns(answers: Sequence[Answer]) -> list[LabelColumn]:
    """One column a field of the expected JSON objects, over the examples whose expected answer has the field."""
    pairs = [(parse_object(answer.expected) or {}, parse_object(answer.content) or {}) for answer in answers]
    names = dict.fromkeys(name for expected, _ in pairs for name in expected)
    return [_field_column(name, pairs) for name in names]


def _field_column(name: str, pairs: Sequence[tuple[JsonObject, JsonObject]]) -> LabelColumn:
    having = [(expected, predicted) for expected, predicted in pairs if name in expected]
    return LabelColumn(
        name=name,
        expected=[canonical(expected[name]) for expected, _ in having],
        predicted=[canonical(predicted[name]) if name in predicted else None for _, predicted in having],
    )


def accuracy(column: LabelColumn) -> float:
    """Right answers / all answers."""
    # Counted here, as the scores below: scikit-learn says the same, and takes over a second of every run to import.
    right = sum(expected == predicted for expected, predicted in zip(column.expected, column.predicted, strict=True))
    return right / len(column.expected)


def macro_f1(column: LabelColumn) -> float | None:
    """Mean of the F1 of every expected label, each counting the same; None where the values are not labels.

    An answer outside the expected labels, or none, is not a class of its own; it lowers the recall of the label that
    was expected.
    """
    if not are_labels(column.expected):
        return None
    scores = label_scores(column)
    return sum(score.f1 for score in scores) / len(scores)


def label_scores(column: LabelColumn) -> list[LabelScore]:
    """Precision, recall and F1 of every expected label, commonest first."""
    expected, predicted, labels = _encode(column)
    n_expected, n_predicted = Counter(expected), Counter(predicted)
    n_right = Counter(code for code, answered in zip(expected, predicted, strict=True) if code == answered)
    return [
        LabelScore(
            label=readable(label),
            precision=n_right[code] / n_predicted[code] if n_predicted[code] else 0.0,
            recall=n_right[code] / n_expected[code],
            # 2·p·r / (p + r) with the fractions multiplied out.
            f1=2 * n_right[code] / (n_predicted[code] + n_expected[code]),
            n_expected=n_expected[code],
        )
        for code, label in enumerate(labels)
    ]


def confusion(column: LabelColumn) -> Confusion:
    """Count what was answered for each expected label."""
    expected, predicted, labels = _encode(column)
    counts = [[0] * (len(labels) + 1) for _ in labels]
    for row, answered in zip(expected, predicted, strict=True):
        # The code of an unknown answer is -1, which is the last column.
        counts[row][answered] += 1
    return Confusion(labels=[readable(label) for label in labels], counts=counts)


def _encode(column: LabelColumn) -> tuple[list[int], list[int], list[str]]:
    counts = Counter(column.expected)
    labels = sorted(counts, key=lambda label: (-counts[label], label))
    codes = {label: code for code, label in enumerate(labels)}
    expected = [codes[label] for label in column.expected]
    predicted = [_NO_KNOWN_LABEL if label is None else codes.get(label, _NO_KNOWN_LABEL) for label in column.predicted]
    return expected, predicted, labels
