"""Answers that are JSON lists of labels, judged as sets: which labels are named counts, and not in which order."""

from collections import Counter
from collections.abc import Sequence

from retune.data.example.labels import parse_labels, readable
from retune.evaluation.examples import Answer
from retune.evaluation.labels import LabelScore, are_labels


def are_label_sets(expected: Sequence[str]) -> bool:
    """Tell whether all are JSON lists whose elements, taken together, are short and clearly repeat."""
    sets = [parse_labels(text) for text in expected]
    labels = [label for found in sets if found is not None for label in found]
    return bool(labels) and None not in sets and are_labels(labels)


def right_sets(answers: Sequence[Answer]) -> list[bool]:
    """Tell of each answer whether it is a list of exactly the expected labels, in any order."""
    return [
        (found := parse_labels(answer.content)) is not None and found == parse_labels(answer.expected)
        for answer in answers
    ]


def label_set_scores(answers: Sequence[Answer]) -> list[LabelScore]:
    """Precision, recall and F1 of every expected label, commonest first.

    For each label, with TP the examples where it is expected and answered, FP those where it is answered alone and FN
    those where it is expected alone: precision TP / (TP + FP), recall TP / (TP + FN), F1 their harmonic mean; 0 where
    nothing is divided. These are scikit-learn's `precision_recall_fscore_support` of multilabel indicators (Tsoumakas
    and Katakis, Multi-Label Classification: An Overview, 2007). An answer that is not a list has none.
    """
    pairs = [
        (parse_labels(answer.expected) or frozenset(), parse_labels(answer.content) or frozenset())
        for answer in answers
    ]
    expected = Counter(label for wanted, _ in pairs for label in wanted)
    answered = Counter(label for _, found in pairs for label in found)
    right = Counter(label for wanted, found in pairs for label in wanted & found)
    return [
        LabelScore(
            label=readable(label),
            precision=_share(right[label], answered[label]),
            recall=_share(right[label], number),
            f1=_share(2 * right[label], number + answered[label]),
            n_expected=number,
        )
        for label, number in sorted(expected.items(), key=lambda item: (-item[1], item[0]))
    ]


def micro_f1(answers: Sequence[Answer]) -> float:
    """F1 over all labels of all examples together, 2·TP / (2·TP + FP + FN); unexpected labels count as false.

    scikit-learn's `f1_score(average="micro")` of multilabel indicators.
    """
    pairs = [
        (parse_labels(answer.expected) or frozenset(), parse_labels(answer.content) or frozenset())
        for answer in answers
    ]
    n_right = sum(len(wanted & found) for wanted, found in pairs)
    return _share(2 * n_right, sum(len(wanted) + len(found) for wanted, found in pairs))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
