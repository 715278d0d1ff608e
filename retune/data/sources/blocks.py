"""Blocks of rows between a source and its examples: a few megabytes at a time, so that memory doesn't grow."""

import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retune.config import SourceFormat
from retune.data.problems.problems import FileNote, Finding
from retune.data.text.arrow_arrays import as_texts, text_scalar, true_places
from retune.training_lines.keys import JsonMapping, JsonObject

BLOCK_BYTES = 4 << 20
"""About how much of a source one block holds: enough to keep a process busy, little enough to have several."""

MOST_BLOCK_ROWS = 1 << 15
"""At most this many rows, however small: what is found out about each takes a kilobyte and more."""

SAMPLE_ROWS = 100
"""How many of a source's first rows decide how all are read."""

# This much may travel with a batch's own rows; a copy of them would cost more.
_SPARE_BYTES = 4 << 10

_ArrowFacts = tuple[int, int, int, bool]

_HAVE_ANY_KEYS = {SourceFormat.JSONL, SourceFormat.JSON}


class Row(NamedTuple):
    """One row of a source.

    Attributes:
        number: As people count it: a row of a table (a CSV file's header is row 1) or a line of a file.
        values: By column name, missing ones None; of JSONL, the object. Empty where the row can't be read.
        findings: Why it can't be read.
        remarks: What is odd about it, though it can be read.
    """

    number: int
    values: JsonObject
    findings: tuple[Finding, ...] = ()
    remarks: tuple[Finding, ...] = ()


class RowTaker(Protocol):
    """Takes those rows of a block that are simple enough for it."""

    @property
    def n_quotes(self) -> int:
        """How many quotes the rows that were taken have as JSON, if no key stands twice in an object."""

    def take(self, number: int, values: object) -> bool:
        """Take a row, or leave it; which of the two."""

    def start_again(self) -> None:
        """Forget all rows: they are offered another time."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source; also a query's result.

    Attributes:
        name: What people call it: a path, or an address without its secrets.
        unit: What its numbers count.
        format: How it is read.
        bytes: Its size; None where that isn't known beforehand.
        columns: Names of its columns, in order; of JSONL, the keys of its first objects.
        split: The split that all of it belongs to: train, validation or test; None where nothing says so.
        split_by: What says so, for people: "file names".
        reading: What its conversations were made of, for people; empty where each row is read as it stands.
    """

    name: str
    unit: Literal["row", "line"]
    format: SourceFormat
    bytes: int | None
    columns: tuple[str, ...]
    split: str | None = None
    split_by: str = ""
    reading: str = ""


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file of a folder that is not read.

    Attributes:
        name: What people call it.
        reason: Why, and where it may hold examples, how to have it read.
        may_hold_examples: It probably does, by its name.
    """

    name: str
    reason: str
    may_hold_examples: bool


def describe_location(files: tuple[SourceFile, ...] | list[SourceFile], file: int, number: int) -> str:
    """Where a row is, for people: "row 12", with the file's name where there are several."""
    place = f"{files[file].unit} {number}"
    if len(files) == 1:
        return place
    # One document may hold a table for each split.
    same = [index for index, other in enumerate(files) if other.name == files[file].name]
    table = files[file].split or f"array {same.index(file) + 1}"
    return f"{files[file].name}, {table}, {place}" if len(same) > 1 else f"{files[file].name}, {place}"


@dataclass(slots=True)
class Block(ABC):
    """Some rows of one file. Blocks travel between processes, so they pickle, and never hold an open file.

    Attributes:
        file: Index of the file in `Source.files`.
        source_bytes: About how much of the file this block is; for progress.
    """

    file: int
    source_bytes: int = field(kw_only=True)

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Every row, in order. Rows with nothing in them are left out, and counted all the same."""

    def text_columns(self, names: Sequence[str]) -> "TextColumns | None":
        """Columns of text as Arrow arrays; None where the block has no columns or one of them is not text."""
        return None

    def rows_left(self, take: Callable[[int, object], bool]) -> list[Row]:
        """Offer every row, in order, by its number and values; the rows that were not taken.

        Of a row that is taken, only texts can be relied on: numbers may have been rounded.
        """
        return [row for row in self.rows() if not take(row.number, None if row.findings else row.values)]

    def offer(self, taker: RowTaker) -> list[Row]:
        """As `rows_left`, but a row in which a key stands twice is not taken."""
        return [
            row
            for row in self.rows()
            if not taker.take(row.number, None if row.findings or row.remarks else row.values)
        ]


@dataclass(frozen=True, slots=True)
class TextColumns:
    """Columns of equal length.

    Attributes:
        numbers: `uint32`, the number of each row.
        columns: One `pa.string()` array for each name asked for.
    """

    numbers: npt.NDArray[np.uint32]
    columns: list[pa.StringArray]


@dataclass(slots=True)
class RowsBlock(Block):
    """Rows that were Python objects from the start: of a pickle, a query, a JSON array."""

    values: list[Row]

    def rows(self) -> Iterator[Row]:
        """The rows as they are."""
        return iter(self.values)


@dataclass(slots=True)
class ArrowBlock(Block):
    """Rows of a table that Arrow read.

    Attributes:
        first: Number of the first row.
        batch: The rows; missing values are null.
        skips_empty: Leave out rows in which all cells are empty or null, as for CSV.
    """

    first: int
    batch: pa.RecordBatch
    skips_empty: bool = False

    def pieces(self) -> "Iterator[ArrowBlock]":
        """The same rows as blocks of at most `MOST_BLOCK_ROWS`."""
        for start in range(0, max(1, len(self.batch)), MOST_BLOCK_ROWS):
            rows, source_bytes = self.batch.slice(start, MOST_BLOCK_ROWS), 0 if start else self.source_bytes
            yield ArrowBlock(self.file, self.first + start, rows, self.skips_empty, source_bytes=source_bytes)

    def __reduce__(self) -> tuple[object, ...]:
        facts = self.file, self.source_bytes, self.first, self.skips_empty
        if self.batch.get_total_buffer_size() <= self.batch.nbytes + _SPARE_BYTES:
            return _arrow_block, (facts, self.batch)
        # A slice of a batch would otherwise travel with all that it was cut from.
        content = pickle.PickleBuffer(self.batch.serialize())
        return _unpacked_arrow_block, (facts, self.batch.schema.serialize().to_pybytes(), content)

    def rows(self) -> Iterator[Row]:
        """Rows with plain Python values; fields of structs that are null are left out."""
        keep = self._kept()
        batch = self.batch if keep is None else self.batch.filter(keep)
        places = range(len(batch)) if keep is None else true_places(keep).tolist()
        for place, values in zip(places, batch.to_pylist(), strict=True):
            yield Row(self.first + place, _cells(values))

    def text_columns(self, names: Sequence[str]) -> TextColumns | None:
        """The columns, if all of them are text."""
        columns = [self.batch.column(name) for name in names]
        if not all(_is_text(column.type) for column in columns):
            return None
        numbers = np.arange(self.first, self.first + len(self.batch), dtype=np.uint32)
        texts = [as_texts(column) for column in columns]
        keep = self._kept()
        if keep is not None:
            numbers, texts = numbers[true_places(keep)], [column.filter(keep) for column in texts]
        return TextColumns(numbers, texts)

    def _kept(self) -> pa.BooleanArray | None:
        """Which rows have anything in them; None for all."""
        if not self.skips_empty:
            return None
        keep: pa.BooleanArray | None = None
        for column in self.batch.columns:
            filled = pc.and_kleene(pc.is_valid(column), pc.not_equal(pc.utf8_trim_whitespace(column), text_scalar("")))
            if pc.all(filled, min_count=0).as_py():
                return None
            keep = filled if keep is None else pc.or_(keep, filled)
        return keep


_LISTS_OF_TOOLS = {"tool_calls", "tools", "functions"}


def without_nulls(value: object) -> object:
    """Drop null fields: a Parquet struct has every field in every row, so `null` there means that it has none.

    Empty lists of tools and of their calls are dropped, too, as that is how tables say so; the API refuses them.
    """
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if not _is_absent(key, item)}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _cells(values: JsonMapping) -> JsonObject:
    return {name: None if _is_absent(name, value) else without_nulls(value) for name, value in values.items()}


def _is_absent(name: str, value: object) -> bool:
    return value is None or (name in _LISTS_OF_TOOLS and isinstance(value, list) and not value)


class Source(ABC):
    """A source that was opened: its first rows were read, and nothing is wrong so far.

    Attributes:
        name: What people call it.
        files: What it consists of, in the order in which it is read.
        split_notes: What is odd about the splits that its names say.
        late_keys: Keys that later rows of JSON have and the first rows of their file lack, as far as they are known.
        late_rows: Some rows that have keys, or say splits, as none of the first rows does.
    """

    name: str
    files: list[SourceFile]
    split_notes: Sequence[FileNote] = ()
    late_keys: tuple[str, ...] = ()
    late_rows: Sequence[JsonMapping] = ()

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Read everything, once, in order.

        Raises:
            SourceError: It can't be read on.
        """

    @abstractmethod
    def sample(self) -> list[Row]:
        """The first rows, at most 100; reading them takes nothing away from `blocks`."""

    def notes(self) -> list[FileNote]:
        """What is odd about the text of whole files; complete once `blocks` has read everything."""
        return []

    def header_doubt(self) -> str | None:
        """Why the row that names a file's columns may be an example; None where nothing speaks for that."""
        return None

    def unread(self) -> list[UnreadFile]:
        """The files of the folder that are left out."""
        return []

    def row_numbers(self) -> dict[int, tuple[int, int]]:
        """First and last number of the rows of files that may leave some out, by the file's index; as `notes`."""
        return {}

    @property
    def grouped_by(self) -> tuple[str, ...]:
        """Columns that tell which rows belong together, where rows were put together."""
        return ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the first file."""
        return self.files[0].columns

    @property
    def all_columns(self) -> tuple[str, ...]:
        """Names of the columns of all files, each once, and the late keys."""
        return tuple(dict.fromkeys([*(name for file in self.files for name in file.columns), *self.late_keys]))

    def columns_of(self, file: SourceFile) -> tuple[str, ...]:
        """Names of the columns of a file; of JSON, whose rows may have any keys, the late ones too."""
        return (*file.columns, *self.late_keys) if self.has_any_keys(file) else file.columns

    @staticmethod
    def has_any_keys(file: SourceFile) -> bool:
        """Whether later rows of a file may have keys that its first rows lack."""
        return file.format in _HAVE_ANY_KEYS

    def first_rows(self) -> list[JsonObject]:
        """What the first rows hold, and the late ones after them; without those that can't be read."""
        return [row.values for row in self.sample() if not row.findings] + [dict(row) for row in self.late_rows]


def _unpacked_arrow_block(facts: _ArrowFacts, schema: bytes, content: Any) -> ArrowBlock:
    batch = pa.ipc.read_record_batch(pa.py_buffer(content), pa.ipc.read_schema(pa.py_buffer(schema)))
    return _arrow_block(facts, batch)


def _arrow_block(facts: _ArrowFacts, batch: pa.RecordBatch) -> ArrowBlock:
    file, source_bytes, first, skips_empty = facts
    return ArrowBlock(file, first, batch, skips_empty, source_bytes=source_bytes)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
