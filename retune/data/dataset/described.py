"""What is known of each example once it was read: numbers and hashes, no text."""

import pickle
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from retune.data.dataset.columns import Column
from retune.data.formats.late_keys import LateRow
from retune.data.problems.problems import Further, Problem

Lines = bytes | memoryview
"""Lines of JSONL, put together; a view where they lie in an array's memory or in a file."""


@dataclass(slots=True)
class Described:
    """What was found out about the examples of one block.

    Attributes:
        columns: As in `COLUMNS`, all of one length.
        lines: The examples as JSONL, for each of `SIDES[1:]` those that are likely to end up there.
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

    def __reduce__(self) -> tuple[Any, ...]:
        # What is large travels as buffers, without copies.
        lines = tuple(pickle.PickleBuffer(part) for part in self.lines)
        rest = self.problems, self.further, self.labels, self.source_bytes, self.other_keys, self.late
        return Described, (self.columns, lines, self.bands, *rest)
