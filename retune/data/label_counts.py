"""How often each answer is given, as long as the answers may be labels."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice

MOST_LABELS = 1_000
LONGEST_LABEL = 200


def count_labels(answers: Iterable[str]) -> Counter[str] | None:
    """Count answers; None where they are too many or too long to be labels."""
    counts: Counter[str] = Counter()
    remaining = iter(answers)
    # Most answers are no labels, which the first few show.
    while some := list(islice(remaining, MOST_LABELS + 1)):
        counts.update(some)
        if not are_labels(counts):
            return None
    return counts


def are_labels(counts: Counter[str]) -> bool:
    """Whether these may be the labels of a classification."""
    return len(counts) <= MOST_LABELS and all(len(label) <= LONGEST_LABEL for label in counts)


def count_listed_labels(counts: Mapping[str, int]) -> Counter[str]:
    """How often each label is named, where every answer is a JSON list of words and these repeat; else nothing."""
    labels: Counter[str] = Counter()
    for answer, number in counts.items():
        try:
            found = json.loads(answer) if answer.lstrip().startswith("[") else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            return Counter()
        labels.update(dict.fromkeys(found, number))
    return labels if 2 * len(labels) <= labels.total() else Counter()
