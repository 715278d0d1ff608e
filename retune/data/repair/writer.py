"""The files of a repair: fixed examples that stay, by their splits, and a line for every change."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.problems.problems import read_problems
from retune.data.problems.rules import Change
from retune.data.splits.keys import Splits
from retune.data.text.jsonl import encode_line
from retune.training_lines.keys import JsonObject

_CHANGES_OF_FILES: dict[str, Change] = {
    "byte_order_mark": "byte_order_mark_removed",
    "windows_line_ends": "line_ends_replaced",
    "total_row": "total_dropped",
}
Changes = dict[Change, list[int]]
"""By the change, the places of the messages that it concerns."""
_NO_MORE: tuple[int, Changes] = (-1, {})


@dataclass(frozen=True, slots=True)
class FixedExamples:
    """All examples, fixed one by one, and which of them stay.

    Attributes:
        lines: File with their lines.
        changes: File with the index and the changes of each that was changed.
        twins: `int64[n]`, for each the index of the first example of its split that equals it: its own, where there
            is none.
        overlaps: `int64[n]`, for each the index of an example that asks the same in a split that is held out from its
            own; -1 where there is none.
        is_empty: `bool[n]`, whether there is nothing in it.
        without_body: Indices of those that are `{}`.
        failed: Indices of those of them that are calls which failed.
    """

    lines: Path
    changes: Path
    twins: npt.NDArray[np.int64]
    overlaps: npt.NDArray[np.int64]
    is_empty: npt.NDArray[np.bool_]
    without_body: list[int]
    failed: set[int]


class RepairWriter:
    """Writes the fixed examples that stay, and every change.

    Attributes:
        n_written: Examples that were written.
        counts: How often each change was made.
    """

    def __init__(
        self,
        store: ExampleStore,
        splits: Splits,
        lines: IO[bytes],
        held_out: Mapping[str, IO[bytes]],
        changes: IO[bytes],
    ) -> None:
        self.n_written = 0
        self.counts: Counter[Change] = Counter()
        self._store = store
        self._outputs = [held_out.get(name, lines) for name in SPLITS]
        self._side = splits
        self._changes = changes
        self._file = store.column("file")
        self._number = store.column("number")

    def write(self, fixed: FixedExamples) -> None:
        """Write every example that stays to the file of its split, and list every change."""
        self._list_changes_of_files()
        left_out = self._rows_left_out()
        changed = _read_changes(fixed.changes)
        index_of_next, changes_of_next = next(changed, _NO_MORE)
        with fixed.lines.open("rb", buffering=1 << 20) as stream:
            for index, line in enumerate(stream):
                self._list_left_out(left_out.get(index, []))
                is_kept = self._keep(index, fixed)
                if is_kept:
                    self.n_written += 1
                    self._outputs[self._side[index]].write(line)
                if index == index_of_next:
                    for change, messages in changes_of_next.items() if is_kept else ():
                        self._list(change, *self._place(index), messages=messages)
                    index_of_next, changes_of_next = next(changed, _NO_MORE)
        self._list_left_out(left_out.get(len(self._number), []))

    def _keep(self, index: int, fixed: FixedExamples) -> bool:
        twin, overlap = int(fixed.twins[index]), int(fixed.overlaps[index])
        if index in fixed.failed:
            self._list("failed_call_dropped", *self._place(index))
        elif fixed.is_empty[index]:
            self._list("empty_dropped", *self._place(index))
        elif overlap >= 0:
            kept = {**self._describe(*self._place(overlap)), "split": SPLITS[self._side[overlap]]}
            self._list("overlap_dropped", *self._place(index), asks_the_same_as=kept)
        elif twin != index:
            self._list("duplicate_dropped", *self._place(index), equal_to=self._describe(*self._place(twin)))
        else:
            return True
        return False

    def _rows_left_out(self) -> dict[int, list[tuple[int, range]]]:
        """Rows with nothing in them, which the reader left out: file and missing numbers, by the index after them."""
        left_out: dict[int, list[tuple[int, range]]] = {}
        facts = self._store.facts
        starts = np.searchsorted(self._file, np.arange(len(facts.files) + 1)).tolist()
        for file, (start, end) in enumerate(pairwise(starts)):
            if facts.files[file].reading:
                # Rows between those in which conversations begin are their further messages.
                continue
            numbers = self._number[start:end].astype(np.int64)
            first, last = facts.row_numbers.get(file) or ((numbers[0], numbers[-1]) if end > start else (1, 0))
            edges = np.concatenate([[first - 1], numbers, [last + 1]])
            for gap in np.flatnonzero(np.diff(edges) > 1).tolist():
                missing = range(int(edges[gap]) + 1, int(edges[gap + 1]))
                left_out.setdefault(start + gap, []).append((file, missing))
        return left_out

    def _list_left_out(self, rows: list[tuple[int, range]]) -> None:
        for file, numbers in rows:
            # Millions of blank lines are a few bytes of a packed file.
            to = {"to": numbers[-1]} if len(numbers) > 1 else {}
            self._list("empty_dropped", file, numbers[0], **to)
            self.counts["empty_dropped"] += len(numbers) - 1

    def _list_changes_of_files(self) -> None:
        groups = {group.kind for group in self._store.facts.problem_groups}
        if not groups & _CHANGES_OF_FILES.keys():
            return
        places = {file.name: place for place, file in enumerate(self._store.facts.files)}
        for problem in read_problems(self._store.problems_path):
            if problem.kind in _CHANGES_OF_FILES and problem.file in places:
                self._list(_CHANGES_OF_FILES[problem.kind], places[problem.file], None)

    def _list(self, change: Change, file: int, number: int | None, **details: Any) -> None:
        self.counts[change] += 1
        self._changes.write(encode_line({**self._describe(file, number), "done": change, **details}))

    def _place(self, index: int) -> tuple[int, int]:
        return int(self._file[index]), int(self._number[index])

    def _describe(self, file: int, number: int | None) -> JsonObject:
        item = self._store.facts.files[file]
        return {"file": item.name} if number is None else {"file": item.name, item.unit: number}


def _read_changes(path: Path) -> Iterator[tuple[int, Changes]]:
    with path.open("rb") as stream:
        for line in stream:
            value = json.loads(line)
            yield value["index"], value["changes"]
