"""What is known of each stored example: numbers and hashes, no text."""

import pickle
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from retune.data.formats.late_keys import LateRow
from retune.data.problems.problems import Further, Problem

Column = npt.NDArray[Any]
"""One value for each example; its type is in `COLUMNS`."""

COLUMNS: dict[str, npt.DTypeLike] = {
    "file": np.uint16,  # index of the source's file
    "number": np.uint32,  # row or line in it
    "part": np.uint8,  # index in SPLITS of the part of the store that its line is in
    "length": np.uint32,  # bytes of its line, with the LF
    "tokens": np.uint32,  # 0 where they were not counted
    "prompt": np.uint64,  # hash, keyed with the split's seed, of what is asked; the stable split goes by it
    "instructions": np.uint64,  # hash of the system and developer messages; 0 where there are none
    "answer": np.uint64,  # hash of the answer's text
    "rest": np.uint64,  # hash of what else there is, also white space at the ends of what is asked; 0 for nothing
    "group": np.uint64,  # hashes of the columns that a split goes by; 0 where there is none
    "stratum": np.uint64,
    "side": np.uint8,  # index in SPLITS; 0 where the source doesn't say
    "sound": np.uint8,  # 1 where nothing is wrong with its structure: only these are compared with one another
}
"""One value of each for every example."""

CONTENT_COLUMNS = ("prompt", "instructions", "answer", "rest")
"""Hashes of all that is trained on: two examples are the same where all of these are."""

BANDS = 5
"""How many near-duplicate keys each example has; two are compared where at least one is the same."""

SPLITS = ("", "train", "validation", "test")


def zero_columns(n: int) -> dict[str, Column]:
    """All columns for `n` examples, zeros."""
    return {name: np.zeros(n, dtype) for name, dtype in COLUMNS.items()}


Lines = bytes | memoryview
"""Lines of JSONL, put together; a view where they lie in an array's memory or in a file."""


@dataclass(slots=True)
class AnalyzedBlock:
    """What was found out about the examples of one block.

    Attributes:
        columns: As in `COLUMNS`, all of one length.
        lines: The examples as JSONL, for each of `SPLITS[1:]` those that are likely to end up there.
        bands: `uint64[n, bands]` for near-duplicates, or None where they aren't looked for.
        problems: What is wrong with single examples, the first of each kind.
        further: How many more there are of these kinds.
        labels: How often each answer was given; None where they are too many or too long to be labels.
        source_bytes: About how much of the source this was.
        other_keys: Keys that the first rows lacked and that reach no example, and how many rows have each.
        late: Some of these rows, and of those that say splits where the first rows said none.
    """

    columns: dict[str, Column]
    lines: tuple[Lines, Lines, Lines]
    bands: npt.NDArray[np.uint64] | None
    problems: list[Problem] = field(default_factory=list)
    further: list[Further] = field(default_factory=list)
    labels: Counter[str] | None = None
    source_bytes: int = 0
    other_keys: Counter[str] = field(default_factory=Counter)
    late: list[LateRow] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.columns["length"])

    def __reduce__(self) -> tuple[object, ...]:
        # What is large travels as buffers, without copies.
        lines = tuple(pickle.PickleBuffer(part) for part in self.lines)
        rest = self.problems, self.further, self.labels, self.source_bytes, self.other_keys, self.late
        return AnalyzedBlock, (self.columns, lines, self.bands, *rest)
