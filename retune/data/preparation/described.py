"""What is known of each example once it was read: numbers and hashes, no text."""

import pickle
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from retune.config import SplitConfig, SplitMethod
from retune.data.blocks import Finding
from retune.data.checks.report import Problem
from retune.data.checks.rules import RULES
from retune.data.preparation.plan import Plan

COLUMNS: dict[str, npt.DTypeLike] = {
    "file": np.uint16,  # index of the source's file
    "number": np.uint32,  # row or line in it
    "part": np.uint8,  # index in SIDES of the part of the store that its line is in
    "length": np.uint32,  # bytes of its line, with the LF
    "tokens": np.uint32,  # 0 where they were not counted
    "prompt": np.uint64,  # hash, keyed with the split's seed, of what is asked; the stable split goes by it
    "answer": np.uint64,  # hash of the answer's text
    "rest": np.uint64,  # hash of the whole example where it holds more than prompt and answer; else 0
    "group": np.uint64,  # hashes of the columns that a split goes by; 0 where there is none
    "stratum": np.uint64,
    "side": np.uint8,  # index in SIDES; 0 where the source doesn't say
    "sound": np.uint8,  # 1 where nothing is wrong with its structure: only these are compared with one another
}
"""One value of each for every example."""

SIDES = ("", "train", "validation", "test")

MOST_LABELS = 1_000
LONGEST_LABEL = 200


Column = npt.NDArray[Any]
"""One value for each example; its type is in `COLUMNS`."""

Lines = bytes | memoryview
"""Lines of JSONL, put together; a view where they lie in an array's memory or in a file."""


@dataclass(slots=True)
class Described:
    """What was found out about the examples of one block.

    Attributes:
        columns: As in `COLUMNS`, all of one length.
        lines: The examples as JSONL, for each of `SIDES[1:]` those that are likely to end up there.
        bands: `uint64[n, bands]` for near-duplicates, or None where they aren't looked for.
        problems: What is wrong with single examples.
        labels: How often each answer was given; None where they are too many or too long to be labels.
        source_bytes: About how much of the source this was.
    """

    columns: dict[str, Column]
    lines: tuple[Lines, Lines, Lines]
    bands: npt.NDArray[np.uint64] | None
    problems: list[Problem] = field(default_factory=list)
    labels: Counter[str] | None = None
    source_bytes: int = 0

    def __len__(self) -> int:
        return len(self.columns["length"])

    def __reduce__(self) -> tuple[Any, ...]:
        # What is large travels as buffers, without copies.
        lines = tuple(pickle.PickleBuffer(part) for part in self.lines)
        return Described, (self.columns, lines, self.bands, self.problems, self.labels, self.source_bytes)


def zero_columns(n: int) -> dict[str, Column]:
    """All columns for `n` examples, zeros."""
    return {name: np.zeros(n, dtype) for name, dtype in COLUMNS.items()}


def make_problem(plan: Plan, file: int, number: int | None, finding: Finding) -> Problem:
    """Say where a finding is, how much it matters and how to mend it; without a number it is of the whole file."""
    rule = RULES[finding.kind]
    return Problem(
        kind=finding.kind,
        level=rule.level,
        location=plan.files[file].name if number is None else plan.location(file, number),
        message=finding.message,
        hint=rule.hint,
        file=plan.files[file].name,
        number=number,
    )


def likely_sides(prompts: npt.NDArray[np.uint64], split: SplitConfig) -> npt.NDArray[np.uint8]:
    """Where the stable split puts examples, as far as each can tell for itself; train for every other split.

    Lines are kept apart by this from the start, so that in the usual case nothing has to be sorted out later. A keyed
    hash's first 53 bits, as a fraction in [0, 1): below `test` is test, from `1 - validation` on is validation.
    """
    sides = np.full(len(prompts), SIDES.index("train"), np.uint8)
    if split.method is SplitMethod.STABLE:
        numbers = hash_fractions(prompts)
        if split.validation < 1:
            sides[numbers >= 1 - split.validation] = SIDES.index("validation")
        if split.test < 1:
            sides[numbers < split.test] = SIDES.index("test")
    return sides


def hash_fractions(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Hashes as numbers in [0, 1). 53 bits are what a float holds; rounding more of them could give 1.0."""
    return (hashes >> np.uint64(11)) / np.float64(2**53)


def count_labels(answers: Iterable[str]) -> Counter[str] | None:
    """Count answers; None where they are too many or too long to be labels."""
    counts = Counter(answers)
    return counts if are_labels(counts) else None


def are_labels(counts: Counter[str]) -> bool:
    """Whether these may be the labels of a classification."""
    return len(counts) <= MOST_LABELS and all(len(label) <= LONGEST_LABEL for label in counts)
