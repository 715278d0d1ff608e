"""Answers as labels: compared by their JSON value, not by how it is written, and counted."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice

from retune.training_lines.keys import JsonObject


def parse_object(text: str | None) -> JsonObject | None:
    """Parse a JSON object; None where the text is anything else, NaN and Infinity included."""
    value = parse_value(text)
    return value if isinstance(value, dict) else None


def parse_value(text: str | None) -> object:
    """Parse JSON; None where the text is null or no JSON, NaN and Infinity included."""
    if text is None:
        return None
    try:
        return json.loads(text, parse_float=_number, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def canonical(value: object) -> str:
    """One text for equal JSON values: keys sorted, no spaces, 1.0 as 1. True and 1 stay different."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


MOST_LABELS = 1_000
LONGEST_LABEL = 200


def count_labels(answers: Iterable[str]) -> Counter[str] | None:
    """Count answers; None where they are too many or too long to be labels."""
    counts: Counter[str] = Counter()
    remaining = iter(answers)
    # Most answers are not labels, which the first few show.
    while some := list(islice(remaining, MOST_LABELS + 1)):
        counts.update(some)
        if not are_labels(counts):
            return None
    return counts


def are_labels(counts: Counter[str]) -> bool:
    """Whether these may be the labels of a classification."""
    return len(counts) <= MOST_LABELS and all(len(label) <= LONGEST_LABEL for label in counts)


def parse_labels(text: str | None) -> frozenset[str] | None:
    """The labels of a JSON list of words and numbers, as JSON texts; None where the text is anything else."""
    value = parse_value(text) if text is not None and text.lstrip().startswith("[") else None
    if not isinstance(value, list) or not all(isinstance(item, str | int | float) for item in value):
        return None
    return frozenset(canonical(item.strip() if isinstance(item, str) else item) for item in value)


def readable(label: str) -> str:
    """A label for people: a word without its quotes."""
    value = json.loads(label)
    return value if isinstance(value, str) else label


def count_listed_labels(counts: Mapping[str, int]) -> Counter[str]:
    """How often each label is named, where every answer is a JSON list of labels and these repeat; else nothing.

    Args:
        counts: How often each answer was given.

    Returns:
        By the labels as `parse_labels` has them.
    """
    labels: Counter[str] = Counter()
    for answer, number in counts.items():
        if (found := parse_labels(answer)) is None:
            return Counter()
        labels.update(dict.fromkeys(found, number))
    return labels if 2 * len(labels) <= labels.total() else Counter()
