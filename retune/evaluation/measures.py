"""Each score of quality as what every example adds to it, from which its interval and its differences come."""

from collections.abc import Sequence

import numpy as np

from retune.data.example.labels import parse_labels, parse_object
from retune.evaluation.correctness import detect_task, equal_answers
from retune.evaluation.examples import Answer
from retune.evaluation.label_sets import right_sets
from retune.evaluation.labels import LabelColumn, are_labels, field_columns, label_column
from retune.evaluation.statistics import (
    Counts,
    Difference,
    Interval,
    Measure,
    difference,
    fraction,
    interval,
    mean_f1,
    ratio,
)
from retune.evaluation.text_similarity import chrf

# Beyond, a macro-F1 has no interval: that many cells of 8 bytes would be drawn anew thousands of times.
_MOST_CELLS = 4_000_000


def score_intervals(answers: Sequence[Answer]) -> dict[str, Interval]:
    """95 % interval of every score of quality, by the score's name; see `statistics.interval`.

    A score of a field is named as in a comparison, `field_accuracy.intent`. Macro-F1 has none where examples times
    labels are more than about 1.3 million.
    """
    return {name: interval(measure) for name, measure in quality_measures(answers).items()}


def score_differences(first: Sequence[Answer], second: Sequence[Answer]) -> dict[str, Difference]:
    """How much better the second model's answers to the same examples are, by the score's name."""
    before, after = quality_measures(first), quality_measures(second)
    return {name: difference(before[name], measure) for name, measure in after.items() if name in before}


def quality_measures(answers: Sequence[Answer]) -> dict[str, Measure]:
    """The scores of quality that apply to the task; none where there are no answers."""
    if not answers:
        return {}
    task = detect_task(answers)
    measures = {"exact_match": fraction(equal_answers(answers, task))}
    return measures | _OF_TASK[task](answers)


def _label_measures(answers: Sequence[Answer]) -> dict[str, Measure]:
    column = label_column(answers)
    right = [wanted == found for wanted, found in zip(column.expected, column.predicted, strict=True)]
    return {"accuracy": fraction(right), **_macro_f1([_field_sets(column, [True] * len(answers))])}


def _label_set_measures(answers: Sequence[Answer]) -> dict[str, Measure]:
    sets = [(set(parse_labels(answer.expected) or ()), set(parse_labels(answer.content) or ())) for answer in answers]
    return {
        "sets_right": fraction(right_sets(answers)),
        "micro_f1": ratio(
            [2 * len(wanted & found) for wanted, found in sets], [len(wanted) + len(found) for wanted, found in sets]
        ),
        **_macro_f1([sets]),
        "valid_json_rate": fraction([parse_labels(answer.content) is not None for answer in answers]),
    }


def _json_measures(answers: Sequence[Answer]) -> dict[str, Measure]:
    columns = {column.name: column for column in field_columns(answers)}
    having = {name: [name in (parse_object(answer.expected) or {}) for answer in answers] for name in columns}
    right = {name: _spread(column, having[name]) for name, column in columns.items()}
    measures = {f"field_accuracy.{name}": fraction(marks, having[name]) for name, marks in right.items()}
    if columns:
        n_right = np.sum(list(right.values()), axis=0)
        measures["accuracy"] = ratio(n_right.tolist(), np.sum(list(having.values()), axis=0).tolist())
    labelled = [name for name, column in columns.items() if are_labels(column.expected)]
    measures |= _macro_f1([_field_sets(columns[name], having[name]) for name in labelled])
    measures["valid_json_rate"] = fraction([parse_object(answer.content) is not None for answer in answers])
    return measures


def _text_measures(answers: Sequence[Answer]) -> dict[str, Measure]:
    return {"chrf": chrf(answers)}


_OF_TASK = {"label": _label_measures, "labels": _label_set_measures, "json": _json_measures, "text": _text_measures}
_Sets = list[tuple[set[str], set[str]]]


def _pairs(column: LabelColumn) -> list[tuple[str, str | None]]:
    return list(zip(column.expected, column.predicted, strict=True))


def _spread(column: LabelColumn, having: Sequence[bool]) -> list[bool]:
    """Whether a field is right, for all examples; false for those that lack it."""
    marks = iter([wanted == found for wanted, found in _pairs(column)])
    return [has and next(marks) for has in having]


def _field_sets(column: LabelColumn, having: Sequence[bool]) -> _Sets:
    pairs = iter(_pairs(column))
    sets: _Sets = []
    for has in having:
        wanted, found = next(pairs) if has else (None, None)
        sets.append((set() if wanted is None else {wanted}, set() if found is None else {found}))
    return sets


def _macro_f1(groups: Sequence[_Sets]) -> dict[str, Measure]:
    labels = [sorted(set().union(*(wanted for wanted, _ in sets))) for sets in groups]
    n_cells = sum(3 * len(names) * len(sets) for names, sets in zip(labels, groups, strict=True))
    if not groups or n_cells > _MOST_CELLS:
        return {}
    counted = [_label_counts(sets, names) for sets, names in zip(groups, labels, strict=True)]
    return {"macro_f1": mean_f1(counted)}


def _label_counts(sets: _Sets, names: Sequence[str]) -> Counts:
    """Right answers, answers and expected ones of each expected label; shape (examples, 3·labels)."""
    labels = {label: position for position, label in enumerate(names)}
    counts = np.zeros((len(sets), 3 * len(labels)), dtype=np.int64)
    for row, (wanted, found) in enumerate(sets):
        for shift, named in enumerate((wanted & found, found, wanted)):
            for label in named & labels.keys():
                counts[row, shift * len(labels) + labels[label]] = 1
    return counts
