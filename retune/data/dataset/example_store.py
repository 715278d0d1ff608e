"""Examples on disk between two steps: their lines, and beside them a file for each column of what is known of them.

train.jsonl …       the examples' lines, kept apart by where each will probably end up
facts.json          what they are, written last: its existence means that all of it is there
problems.jsonl      what is wrong with single examples
columns/            numbers and hashes, one plain array a file
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from retune.config import ProviderKind
from retune.data.dataset.columns import COLUMNS, SPLITS, Column
from retune.data.example.example import Method
from retune.data.problems.problems import ProblemGroup
from retune.data.sources.blocks import SourceFile, describe_location
from retune.data.text.jsonl import FileFacts

_BANDS_DTYPE = np.dtype(np.uint64)

STORE_VERSION: Final = 5
"""Is raised with the columns, the hashes, the rule of tokens, or whatever else is kept: an older store is not read."""

SPLIT_COLUMNS = ("group", "stratum", "side")
"""Columns that a split may go by, and that are not part of the examples."""

PLACE_COLUMNS = ("file", "number")
"""Columns that tell where the examples come from."""


class SourceFacts(BaseModel):
    """What is known of the examples before they are written.

    Attributes:
        source: What people call the source.
        row_numbers: First and last number of the rows of files, by their index, those with nothing in them too; only of
            files that leave such rows out.
        shape: What people call the shape of its rows.
        unused: Columns of the source that reach no example, and keys that only some rows have; the first 100.
        method: What the examples can train.
        split_column: The column that says which split a row belongs to; None where there is none.
        group_column: The column whose equal values stay together; None where there is none.
        encoding: The tokenizer that counted.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    files: list[SourceFile]
    row_numbers: dict[int, tuple[int, int]]
    shape: str
    unused: list[str]
    method: Method
    provider: ProviderKind
    encoding: str
    seed: int
    checks: bool
    counts_tokens: bool
    split_column: str | None = None
    group_column: str | None = None


class StoreFacts(SourceFacts):
    """What the examples are.

    Attributes:
        version: Of the store's format.
        n_examples: How many there are.
        parts: The files with their lines, by their names in `SPLITS`.
        sha256: Hex SHA-256 of what the examples are and of their order, however the source was packed or formatted:
            of the columns in `CONTENT_COLUMNS`, an example after the other.
        labels: How often each answer was given; None where they are too many or too long to be labels.
        problem_groups: What is wrong with single examples, by kind.
    """

    version: Literal[5]
    n_examples: int
    parts: dict[str, FileFacts]
    sha256: str
    labels: dict[str, int] | None
    problem_groups: list[ProblemGroup]


class ExampleStore:
    """Reads what an `ExampleWriter` wrote.

    Args:
        directory: Where it is.

    Raises:
        FileNotFoundError: It is not there, or was never finished.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        facts = StoreFacts.model_validate_json((directory / "facts.json").read_bytes())
        # The directory may have been moved since.
        parts = {
            split: part.model_copy(update={"path": part_path(directory, split)}) for split, part in facts.parts.items()
        }
        self.facts = facts.model_copy(update={"parts": parts})

    def __len__(self) -> int:
        return self.facts.n_examples

    @property
    def problems_path(self) -> Path:
        """The problems of single examples, as JSONL."""
        return self.directory / "problems.jsonl"

    def column(self, name: str) -> Column:
        """One value for each example; see `retune.data.dataset.columns.COLUMNS`."""
        return np.fromfile(self.directory / "columns" / name, COLUMNS[name])

    def hashes(self, name: str) -> npt.NDArray[np.uint64]:
        """A column of hashes."""
        return self.column(name).astype(np.uint64, copy=False)

    def band(self, index: int) -> npt.NDArray[np.uint64]:
        """One near-duplicate key for each example; 0 where its structure is broken."""
        return np.fromfile(self.directory / "columns" / f"band-{index}", _BANDS_DTYPE)

    def sha256_of(self, names: Sequence[str]) -> str:
        """Hex SHA-256 of some columns, in the order of the examples."""
        digest = hashlib.sha256()
        for name in names:
            digest.update(f"{name}:{len(self)};".encode())
            digest.update(np.ascontiguousarray(self.column(name)).data)
        return digest.hexdigest()

    def locations(self, indices: npt.NDArray[np.int64]) -> list[tuple[str, str, int]]:
        """Where examples come from.

        Returns:
            For each index: the place as people call it, the file's name, the row or line.
        """
        files = self.facts.files
        places = zip(self.column("file")[indices].tolist(), self.column("number")[indices].tolist(), strict=True)
        return [(describe_location(files, file, number), files[file].name, number) for file, number in places]

    def lines(self) -> Iterator[bytes]:
        """Every example's line, with its LF, in order."""
        with ExitStack() as stack:
            streams = [stack.enter_context(path.open("rb", buffering=1 << 20)) for path in self._parts()]
            for part in self.column("part").tolist():
                yield streams[part - 1].readline()

    def read_lines(self, indices: npt.NDArray[np.int64]) -> Iterator[bytes]:
        """The lines of some examples, in the order asked for."""
        parts, lengths, offsets = self._places
        with ExitStack() as stack:
            streams = [stack.enter_context(path.open("rb")) for path in self._parts()]
            for index in indices.tolist():
                stream = streams[parts[index] - 1]
                stream.seek(offsets[index])
                yield stream.read(lengths[index])

    @cached_property
    def _places(self) -> tuple[Column, Column, npt.NDArray[np.int64]]:
        """Each example's file, and how long its line is and where it starts there."""
        parts, lengths = self.column("part"), self.column("length")
        offsets = np.zeros(len(self), np.int64)
        for part in range(1, len(SPLITS)):
            is_here = parts == part
            here = lengths[is_here].astype(np.int64)
            offsets[is_here] = np.cumsum(here) - here
        return parts, lengths, offsets

    def _parts(self) -> list[Path]:
        return [part_path(self.directory, split) for split in SPLITS[1:]]


def part_path(directory: Path, split: str) -> Path:
    """The file of a store that holds the lines of the examples which will probably end up in a split."""
    return directory / f"{split}.jsonl"
