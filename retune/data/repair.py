"""Repairs that can't do harm, as `retune check --fix` makes them: into a new file, with a list of every change.

Byte order marks and Windows line ends go, white space at the ends of contents goes, and so do rows with nothing in
them and all but the first of equal examples. Where the source declares splits, a question that is in several of them
stays in test, or else in validation, so that nothing is judged by what was trained on. Of examples without errors that
goes, too, which is left out of a training file: other keys and those that hold nothing, empty system messages, what
follows the last answer. Whatever would need a decision stays as it is.
"""

import errno
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from retune.data.examples import canonical_json
from retune.data.fixes import CHANGES, fix_example, is_empty
from retune.data.jsonl import encode_line
from retune.data.problems import Problem, read_problems
from retune.data.rules import MOST_KEPT_PER_KIND, Change
from retune.data.splits.keys import Sides
from retune.data.store.columns import SIDES
from retune.data.store.store import ExampleStore
from retune.errors import CheckError
from retune.files import atomic_write, writing
from retune.private_files import private_opener
from retune.training_lines.cleaning import clean_line

_CHANGES_OF_FILES: dict[str, Change] = {
    "byte_order_mark": "byte_order_mark_removed",
    "windows_line_ends": "line_ends_replaced",
}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_DIGEST_BYTES = 16

HELD_OUT = ("validation", "test")
"""Splits that go into files of their own."""
_SHOWN_PLACES = 3
_EXAMPLES_BETWEEN_PROGRESS = 4_096

Progress = Callable[[int, int], None]
"""Called with the number of examples that were fixed, and of all."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was repaired.

    Attributes:
        path: The new file, chat JSONL.
        changes_path: JSONL beside it, a line for every change.
        held_out: By split, the new files of validation and of test, where these can't be found again in `path`.
        n_read: Examples that were read.
        n_written: Examples of the new file.
        counts: How often each change was made.
    """

    path: Path
    changes_path: Path
    held_out: dict[str, Path]
    n_read: int
    n_written: int
    counts: Counter[Change]

    def summary(self) -> list[tuple[str, str, int]]:
        """What was counted, what was done to it, and how often; only what was done at all."""
        return [(noun, done, self.counts[change]) for change, (noun, done) in CHANGES.items() if self.counts[change]]


def changes_path_of(path: Path) -> Path:
    """Where the changes of a repaired file are listed."""
    return path.with_name(f"{path.name}.changes.jsonl")


def repair_examples(
    store: ExampleStore,
    path: Path,
    *,
    sides: Sides | None = None,
    on_progress: Progress = lambda _done, _total: None,
) -> Repaired:
    """Write the store's examples anew with the safe repairs made, and list every change beside the file.

    A validation or a test split that the source declares goes into a file of its own beside it, as does one that goes
    by a column: a line of a training file can't say which split it belongs to. All files appear once they are whole.
    The same examples give the same bytes, and repairing a repaired file changes nothing. Memory grows by some 50 bytes
    an example.

    Args:
        store: The examples; working files of their size are put into its directory.
        path: The new file.
        sides: The split of each example, where it can't be found again in the new file, as places in `SIDES`; by
            default what the source declares.
        on_progress: Called now and then.

    Raises:
        CheckError: A row could not be made into an example at all, so the new file would silently lack it.
        RunDirectoryError: A file can't be written.
    """
    sides = declared_sides(store) if sides is None else sides
    held_out = held_out_paths(sides, path)
    with writing(path):
        fixed = _fix_all(store, sides, on_progress)
        _refuse_to_lose_rows(store, fixed)
        with ExitStack() as stack:
            written = (path, changes_path_of(path), *held_out.values())
            lines, changes, *others = (stack.enter_context(atomic_write(item, is_private=False)) for item in written)
            writer = _Writer(store, sides, lines, dict(zip(held_out, others, strict=True)), changes)
            writer.write(fixed)
    return Repaired(path, changes_path_of(path), held_out, len(store), writer.n_written, writer.counts)


def declared_sides(store: ExampleStore) -> Sides:
    """The split of each example as the source declares it, and train where it declares none."""
    return np.maximum(store.column("side"), SIDES.index("train")).astype(np.uint8)


def held_out_paths(sides: Sides, path: Path) -> dict[str, Path]:
    """Where repaired examples of validation and of test go, by the split."""
    present = np.unique(sides).tolist()
    return {name: held_out_path(path, name) for name in HELD_OUT if SIDES.index(name) in present}


def held_out_path(path: Path, split: str) -> Path:
    """Where the repaired examples of a split go that is held out of `path`."""
    return path.with_name(f"{path.stem}.{split}{path.suffix}")


@dataclass(frozen=True, slots=True)
class _Fixed:
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
    """

    lines: Path
    changes: Path
    twins: npt.NDArray[np.int64]
    overlaps: npt.NDArray[np.int64]
    is_empty: npt.NDArray[np.bool_]
    without_body: list[int]


def _fix_all(store: ExampleStore, sides: Sides, on_progress: Progress) -> _Fixed:
    lines, changes = store.directory / "fixed.jsonl", store.directory / "fixed_changes.jsonl"
    digests, empty, without_body = bytearray(), bytearray(), []
    splits = sides.tolist()
    with (
        open(lines, "wb", opener=private_opener) as fixed_lines,
        open(changes, "wb", opener=private_opener) as fixed_changes,
    ):
        is_sound = store.column("sound").tolist()
        for index, line in enumerate(store.lines()):
            body = json.loads(line)
            changed: _Changes = {}
            if is_sound[index]:
                body, removed = clean_line(body, store.facts.method)
                for change, messages in removed.items():
                    changed[change] = messages
            changed |= fix_example(body)
            if changed:
                fixed_changes.write(encode_line({"index": index, "changes": changed}))
            if not body:
                without_body.append(index)
            empty.append(is_empty(body))
            split = SIDES[splits[index]].encode()
            digests += hashlib.blake2b(canonical_json(body), digest_size=_DIGEST_BYTES, person=split).digest()
            fixed_lines.write(encode_line(body) if changed else line)
            if index % _EXAMPLES_BETWEEN_PROGRESS == 0:
                on_progress(index, len(store))
    pairs = np.frombuffer(digests, np.uint64).reshape(-1, 2)
    twins, overlaps = _find_twins(pairs), _find_overlaps(store, sides)
    return _Fixed(lines, changes, twins, overlaps, np.frombuffer(empty, np.bool_), without_body)


def _find_twins(digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """For each row the index of the first row that equals it."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable, so the first of equal ones is first
    ordered = digests[order]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.flatnonzero(is_first)
    twins = np.empty(len(order), np.int64)
    twins[order] = order[first[np.cumsum(is_first) - 1]]
    return twins


def _find_overlaps(store: ExampleStore, sides: Sides) -> npt.NDArray[np.int64]:
    """For each example one that asks the same in test, or else in validation, and is not of its own split."""
    overlaps = np.full(len(store), -1, np.int64)
    sides = sides.astype(np.int64)
    if (sides == SIDES.index("train")).all():
        return overlaps
    sound = np.flatnonzero(store.column("sound"))
    prompts = store.hashes("prompt")
    order = sound[np.lexsort((sound, -sides[sound], prompts[sound]))]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = prompts[order[1:]] != prompts[order[:-1]]
    kept = order[is_first][np.cumsum(is_first) - 1]
    is_lost = sides[order] != sides[kept]
    overlaps[order[is_lost]] = kept[is_lost]
    return overlaps


def _refuse_to_lose_rows(store: ExampleStore, fixed: _Fixed) -> None:
    """An example without a body was empty in the source, or something stood there that can't be read.

    Raises:
        CheckError: The latter; or there are so many errors that not all was read.
    """
    for group in store.facts.problem_groups:
        if group.kind == "reading_stopped":
            text = f"{group.first[0].message} A repaired file would lack it."
            raise CheckError(f"{store.facts.source} has {text}", hint=group.hint)
    if not fixed.without_body:
        return
    places = store.locations(np.array(fixed.without_body, np.int64))
    wanted = {(file, number) for _, file, number in places}
    unreadable: list[Problem] = []
    rows = set()
    for problem in read_problems(store.problems_path):
        place = (problem.file, problem.number)
        if place in wanted and problem.level == "error" and problem.kind != "missing_messages":
            rows.add(place)
            if len(unreadable) < _SHOWN_PLACES:
                unreadable.append(problem)
    if not unreadable:
        return
    are_not, them = ("row is not an example", "it") if len(rows) == 1 else ("rows are not examples", "them")
    at_least = "at least " if len(rows) >= MOST_KEPT_PER_KIND else ""
    lines = [f"{at_least}{len(rows):,} {are_not}, and a repaired file would lack {them}:"]
    lines += [f"  {problem.location}: {problem.message}" for problem in unreadable]
    if len(rows) > len(unreadable):
        lines.append(f"  and {len(rows) - len(unreadable):,} more")
    raise CheckError("\n".join(lines), hint=f"Fix or remove {them} by hand; then --fix does the rest.")


class _Writer:
    """Writes the fixed examples that stay, and every change.

    Attributes:
        n_written: Examples that were written.
        counts: How often each change was made.
    """

    def __init__(
        self,
        store: ExampleStore,
        sides: Sides,
        lines: IO[bytes],
        held_out: Mapping[str, IO[bytes]],
        changes: IO[bytes],
    ) -> None:
        self.n_written = 0
        self.counts: Counter[Change] = Counter()
        self._store = store
        self._outputs = [held_out.get(name, lines) for name in SIDES]
        self._side = sides
        self._changes = changes
        self._file = store.column("file")
        self._number = store.column("number")

    def write(self, fixed: _Fixed) -> None:
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

    def _keep(self, index: int, fixed: _Fixed) -> bool:
        twin, overlap = int(fixed.twins[index]), int(fixed.overlaps[index])
        if fixed.is_empty[index]:
            self._list("empty_dropped", *self._place(index))
        elif overlap >= 0:
            kept = {**self._describe(*self._place(overlap)), "split": SIDES[self._side[overlap]]}
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

    def _describe(self, file: int, number: int | None) -> dict[str, Any]:
        item = self._store.facts.files[file]
        return {"file": item.name} if number is None else {"file": item.name, item.unit: number}


_Changes = dict[Change, list[int]]
_NO_MORE: tuple[int, _Changes] = (-1, {})


def _read_changes(path: Path) -> Iterator[tuple[int, _Changes]]:
    with path.open("rb") as stream:
        for line in stream:
            value = json.loads(line)
            yield value["index"], value["changes"]
