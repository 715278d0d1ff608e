"""Repairs that can't do harm, as `retune check --fix` makes them: into a new file, with a list of every change.

Byte order marks and Windows line ends go, white space at the ends of contents goes, and so do rows with nothing in
them, logged calls that failed, and all but the first of equal examples. Where the source declares splits, a question
that is in several of them stays in test, or else in validation, so that nothing is judged by what was trained on. Of
examples without errors that goes, too, which is left out of a training file: other keys and those that hold nothing,
empty system messages, what follows the last answer. Whatever would need a decision stays as it is.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.example.example import canonical_json
from retune.data.example.fixes import fix_example, is_empty
from retune.data.problems.problems import Problem, read_problems
from retune.data.problems.rules import MOST_KEPT_PER_KIND, Change
from retune.data.repair.writer import Changes, FixedExamples, RepairWriter
from retune.data.splits.keys import Splits
from retune.data.text.jsonl import encode_line
from retune.errors import CheckError
from retune.files import atomic_write, writing
from retune.private_files import private_opener
from retune.training_lines.cleaning import clean_line

_DIGEST_BYTES = 16

HELD_OUT = ("validation", "test")
"""Splits that go into files of their own."""
_SHOWN_PLACES = 3
_MAY_BE_LEFT_OUT = ("missing_messages", "failed_call")
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


def changes_path_of(path: Path) -> Path:
    """Where the changes of a repaired file are listed."""
    return path.with_name(f"{path.name}.changes.jsonl")


def repair_examples(
    store: ExampleStore,
    path: Path,
    *,
    splits: Splits | None = None,
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
        splits: The split of each example, where it can't be found again in the new file, as places in `SPLITS`; by
            default what the source declares.
        on_progress: Called now and then.

    Raises:
        CheckError: A row could not be made into an example at all, so the new file would silently lack it.
        RunDirectoryError: A file can't be written.
    """
    splits = declared_splits(store) if splits is None else splits
    held_out = held_out_paths(splits, path)
    with writing(path):
        fixed = _fix_all(store, splits, on_progress)
        _refuse_to_lose_rows(store, fixed)
        fixed.failed.update(_failed_calls(store, fixed.without_body))
        with ExitStack() as stack:
            written = (path, changes_path_of(path), *held_out.values())
            lines, changes, *others = (stack.enter_context(atomic_write(item, is_private=False)) for item in written)
            writer = RepairWriter(store, splits, lines, dict(zip(held_out, others, strict=True)), changes)
            writer.write(fixed)
    return Repaired(path, changes_path_of(path), held_out, len(store), writer.n_written, writer.counts)


def declared_splits(store: ExampleStore) -> Splits:
    """The split of each example as the source declares it, and train where it declares none."""
    return np.maximum(store.column("side"), SPLITS.index("train")).astype(np.uint8)


def held_out_paths(splits: Splits, path: Path) -> dict[str, Path]:
    """Where repaired examples of validation and of test go, by the split."""
    present = np.unique(splits).tolist()
    return {name: held_out_path(path, name) for name in HELD_OUT if SPLITS.index(name) in present}


def held_out_path(path: Path, split: str) -> Path:
    """Where the repaired examples of a split go that is held out of `path`."""
    return path.with_name(f"{path.stem}.{split}{path.suffix}")


def _fix_all(store: ExampleStore, splits: Splits, on_progress: Progress) -> FixedExamples:
    lines, changes = store.directory / "fixed.jsonl", store.directory / "fixed_changes.jsonl"
    digests, empty, without_body = bytearray(), bytearray(), []
    split_of = splits.tolist()
    with (
        open(lines, "wb", opener=private_opener) as fixed_lines,
        open(changes, "wb", opener=private_opener) as fixed_changes,
    ):
        is_valid = store.column("sound").tolist()
        for index, line in enumerate(store.lines()):
            body = json.loads(line)
            changed: Changes = {}
            if is_valid[index]:
                body, removed = clean_line(body, store.facts.method)
                for change, messages in removed.items():
                    changed[change] = messages
            changed |= fix_example(body)
            if changed:
                fixed_changes.write(encode_line({"index": index, "changes": changed}))
            if not body:
                without_body.append(index)
            empty.append(is_empty(body))
            split = SPLITS[split_of[index]].encode()
            digests += hashlib.blake2b(canonical_json(body), digest_size=_DIGEST_BYTES, person=split).digest()
            fixed_lines.write(encode_line(body) if changed else line)
            if index % _EXAMPLES_BETWEEN_PROGRESS == 0:
                on_progress(index, len(store))
    pairs = np.frombuffer(digests, np.uint64).reshape(-1, 2)
    twins, overlaps = _find_twins(pairs), _find_overlaps(store, splits)
    return FixedExamples(lines, changes, twins, overlaps, np.frombuffer(empty, np.bool_), without_body, set())


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


def _find_overlaps(store: ExampleStore, splits: Splits) -> npt.NDArray[np.int64]:
    """For each example one that asks the same in test, or else in validation, and is not of its own split."""
    overlaps = np.full(len(store), -1, np.int64)
    splits = splits.astype(np.int64)
    if (splits == SPLITS.index("train")).all():
        return overlaps
    valid = np.flatnonzero(store.column("sound"))
    prompts = store.hashes("prompt")
    order = valid[np.lexsort((valid, -splits[valid], prompts[valid]))]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = prompts[order[1:]] != prompts[order[:-1]]
    kept = order[is_first][np.cumsum(is_first) - 1]
    is_lost = splits[order] != splits[kept]
    overlaps[order[is_lost]] = kept[is_lost]
    return overlaps


def _refuse_to_lose_rows(store: ExampleStore, fixed: FixedExamples) -> None:
    """An example without a body was empty in the source, a call that failed, or something that can't be read.

    Raises:
        CheckError: It can't be read; or there are so many errors that not all was read.
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
        if place in wanted and problem.level == "error" and problem.kind not in _MAY_BE_LEFT_OUT:
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


def _failed_calls(store: ExampleStore, without_body: list[int]) -> set[int]:
    """Which of the examples without a body are calls that failed; the others were empty in the source."""
    counts = {group.kind: group.count for group in store.facts.problem_groups}
    if not counts.get("failed_call"):
        return set()
    known: dict[str, set[tuple[str | None, int | None]]] = {kind: set() for kind in _MAY_BE_LEFT_OUT}
    for problem in read_problems(store.problems_path):
        if problem.kind in known:
            known[problem.kind].add((problem.file, problem.number))
    places = {
        index: (file, number)
        for index, (_, file, number) in zip(
            without_body, store.locations(np.array(without_body, np.int64)), strict=True
        )
    }
    if counts["failed_call"] > MOST_KEPT_PER_KIND >= counts.get("missing_messages", 0):
        return {index for index, place in places.items() if place not in known["missing_messages"]}
    return {index for index, place in places.items() if place in known["failed_call"]}
