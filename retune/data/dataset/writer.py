"""Writing examples to a store as they are described."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from retune.data.dataset.columns import BANDS, COLUMNS, CONTENT_COLUMNS, SPLITS, AnalyzedBlock, Lines
from retune.data.dataset.example_store import STORE_VERSION, ExampleStore, SourceFacts, StoreFacts, part_path
from retune.data.example.labels import are_labels
from retune.data.problems.problems import Problem, ProblemCollector
from retune.data.text.jsonl import FileFacts
from retune.files import write_json, writing
from retune.private_files import make_private_directory, private_opener

MOST_OTHER_KEYS = 1000
_BYTES_BETWEEN_SAVES = 64 << 20


class ExampleWriter:
    """Writes examples as they are analyzed. A context manager: what was not finished is of no use.

    Args:
        directory: New or empty; the caller removes it where writing fails.

    Raises:
        RunDirectoryError: It can't be written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._digest = hashlib.sha256()
        self._background = ThreadPoolExecutor(1)
        self._count = 0
        self._labels: Counter[str] | None = Counter()
        self._other_keys: Counter[str] = Counter()
        self._streams: dict[str, IO[bytes]] = {}
        self._on_disk: Future[None] | None = None
        self._unsaved_bytes = 0
        self._bytes = 0
        with self._writing():
            make_private_directory(directory / "columns")
            self._problems = ProblemCollector(directory / "problems.jsonl")
            self._parts = [_Part(part_path(directory, split)) for split in SPLITS[1:]]
            for name in (*COLUMNS, *(f"band-{index}" for index in range(BANDS))):
                self._streams[name] = open(directory / "columns" / name, "wb", opener=private_opener)  # noqa: SIM115 - closed by its owner

    def _writing(self) -> AbstractContextManager[None]:
        return writing(self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._writing(), ExitStack() as stack:
            stack.callback(self._problems.close)
            for stream in self._files():
                stack.callback(stream.close)
            stack.callback(self._background.shutdown)

    def _save_in_the_background(self) -> None:
        """Have the system write to the disk while others calculate; at the end nobody need wait for all of it."""
        if self._unsaved_bytes < _BYTES_BETWEEN_SAVES or not (self._on_disk is None or self._on_disk.done()):
            return
        self._wait_until_saved()
        self._unsaved_bytes = 0
        self._on_disk = self._background.submit(_save, [part.stream.fileno() for part in self._parts])

    def _wait_until_saved(self) -> None:
        if self._on_disk is not None:
            self._on_disk.result()

    def _files(self) -> list[IO[bytes]]:
        return [*(part.stream for part in self._parts), *self._streams.values()]

    def append(self, analyzed: AnalyzedBlock) -> None:
        """Add the examples of one block.

        Raises:
            RunDirectoryError: The disk is full or can't be written.
        """
        self._count += len(analyzed)
        hashes = [analyzed.columns[name].astype(np.uint64, copy=False) for name in CONTENT_COLUMNS]
        self._digest.update(np.stack(hashes, axis=1).astype("<u8", copy=False).tobytes())
        with self._writing():
            for index, (part, lines) in enumerate(zip(self._parts, analyzed.lines, strict=True), start=1):
                part.write(lines, int((analyzed.columns["part"] == index).sum()))
                self._unsaved_bytes += len(lines)
                self._bytes += len(lines)
            self._save_in_the_background()
            self._problems.add(analyzed.problems)
            self._problems.add(analyzed.further)
            for name, values in analyzed.columns.items():
                self._bytes += self._streams[name].write(values.astype(COLUMNS[name], copy=False).tobytes())
            if analyzed.bands is not None:
                for index in range(BANDS):
                    self._bytes += self._streams[f"band-{index}"].write(analyzed.bands[:, index].tobytes())
        self._count_labels(analyzed)
        self._count_other_keys(analyzed)

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Add problems that belong to no single example.

        Raises:
            RunDirectoryError: The disk is full or can't be written.
        """
        with self._writing():
            self._problems.add(problems)

    def _count_labels(self, analyzed: AnalyzedBlock) -> None:
        if self._labels is not None:
            self._labels = None if analyzed.labels is None else self._labels + analyzed.labels
        if self._labels is not None and not are_labels(self._labels):
            self._labels = None

    def _count_other_keys(self, analyzed: AnalyzedBlock) -> None:
        # Rows may have any keys, and new ones each.
        for key, count in analyzed.other_keys.items():
            if key in self._other_keys or len(self._other_keys) < MOST_OTHER_KEYS:
                self._other_keys[key] += count

    @property
    def n_examples(self) -> int:
        """How many there are so far."""
        return self._count

    @property
    def n_bytes(self) -> int:
        """What the examples take on disk so far; problems, of which few are kept, not counted."""
        return self._bytes

    @property
    def n_errors(self) -> int:
        """How many errors they have so far."""
        return self._problems.n_errors

    @property
    def other_keys(self) -> Mapping[str, int]:
        """The first keys that only later rows have and that reach no example, and how many rows have each."""
        return self._other_keys

    def finish(self, facts: SourceFacts) -> ExampleStore:
        """Write what the examples are; with this they are complete.

        Raises:
            RunDirectoryError: The disk is full or can't be written.
        """
        with self._writing():
            for stream in self._files():
                stream.flush()
            self._wait_until_saved()
            _save([stream.fileno() for stream in self._files()])
        self.__exit__(None, None, None)
        with self._writing():
            write_json(self._directory / "facts.json", self._complete(facts).model_dump(mode="json"))
        return ExampleStore(self._directory)

    def _complete(self, facts: SourceFacts) -> StoreFacts:
        return StoreFacts(
            **dict(facts),
            version=STORE_VERSION,
            n_examples=self._count,
            parts={split: part.facts() for split, part in zip(SPLITS[1:], self._parts, strict=True)},
            sha256=self._digest.hexdigest(),
            labels=None if self._labels is None else dict(self._labels),
            problem_groups=self._problems.groups(),
        )


def _save(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.fsync(descriptor)


class _Part:
    """A file of lines, hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.stream: IO[bytes] = open(path, "wb", opener=private_opener)  # noqa: SIM115 - closed by its owner
        self._digest = hashlib.sha256()
        self._bytes = self._examples = 0

    def write(self, lines: Lines, examples: int) -> None:
        self._bytes += self.stream.write(lines)
        self._digest.update(lines)
        self._examples += examples

    def facts(self) -> FileFacts:
        return FileFacts(path=self._path, sha256=self._digest.hexdigest(), bytes=self._bytes, examples=self._examples)
