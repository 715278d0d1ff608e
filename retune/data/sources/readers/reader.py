"""What every format's reader has in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from retune.config import SourceFormat
from retune.data.problems.problems import Finding
from retune.data.sources.blocks import BLOCK_BYTES, SAMPLE_ROWS, Block, Row, RowsBlock, SourceFile
from retune.data.sources.bounds import check_columns
from retune.data.sources.files.locations import Location
from retune.data.sources.readers.table_edges import describe_totals
from retune.errors import SourceError
from retune.redaction.masking import masked

_LEAST_ROW_BYTES = 64

# A block is a few megabytes or one larger row: a hundred rows of megabytes would be kept for as long as a source is.
_MOST_SAMPLED_BLOCKS = 4


@dataclass(slots=True)
class TextNotes:
    """What is odd about a file's text and doesn't matter to what it says.

    Attributes:
        has_byte_order_mark: It starts with one.
        windows_line_ends: How many of its lines end in CRLF.
        row_numbers: First and last number of its rows, those with nothing in them too; None where none is left out.
        layout: How the file was read, where that isn't as its format has it: "the first line, sep=;, …".
        totals: What is said of rows at the end that sum up the table.
    """

    has_byte_order_mark: bool = False
    windows_line_ends: int = 0
    row_numbers: tuple[int, int] | None = None
    layout: list[str] = field(default_factory=list)
    totals: list[Finding] = field(default_factory=list)

    def add_totals(self, numbers: Sequence[int], first: Sequence[str], *, are_left_out: bool) -> None:
        """Note rows that sum up the table.

        Args:
            numbers: Theirs.
            first: The cells of the first of them.
            are_left_out: They are not read as examples.
        """
        title = next(cell for cell in first if cell.strip())
        text = describe_totals(numbers, title, are_left_out=are_left_out)
        self.totals.append(Finding("total_row" if are_left_out else "total_row_read", text))


class FileReader(ABC):
    """One file of a source. Opening it looks at its start; it stays open only while it is read.

    Args:
        location: The file.
        format: What it is.
        unit: What its numbers count.

    Attributes:
        columns: Names of its columns; of JSON, the keys of its first objects.
        notes: What is odd about its text, as far as it was read.
        header_doubt: Why what names its columns may be an example; None where it isn't.
        findings: What else was found when it was opened, of the whole file.
    """

    columns: tuple[str, ...] = ()
    header_doubt: str | None = None
    findings: tuple[Finding, ...] = ()

    def __init__(self, location: Location, format: SourceFormat, unit: Literal["row", "line"]) -> None:  # noqa: A002
        self.location = location
        self.format = format
        self.unit: Literal["row", "line"] = unit
        self.notes = TextNotes()

    @abstractmethod
    def blocks(self, file: int) -> Generator[Block, None, None]:
        """Read the whole file, a few megabytes at a time.

        Args:
            file: Its index in the source.

        Raises:
            SourceError: It can't be read on.
        """

    def sample(self, most: int = SAMPLE_ROWS) -> list[Row]:
        """Read the first rows alone; fewer where they are large.

        Raises:
            SourceError: They can't be read.
        """
        return list(islice(self._first_rows(), most))

    def _first_rows(self) -> Iterator[Row]:
        n_blocks = 0
        blocks = self.blocks(0)
        with closing(blocks):
            for block in blocks:
                has_rows = False
                for row in block.rows():
                    has_rows = True
                    yield row
                n_blocks += has_rows
                if n_blocks == _MOST_SAMPLED_BLOCKS:
                    return

    @property
    def source_file(self) -> SourceFile:
        """The file as the source describes it."""
        at = self.location
        return SourceFile(at.name, self.unit, self.format, at.size, self.columns, at.split, at.split_by)

    def changed(self) -> SourceError:
        """For a file that isn't what it was when it was opened."""
        return SourceError(f"{self.location.name} changed while it was read.", hint="Read it once it is complete.")

    def check_size(self, n_bytes: int) -> None:
        """Hold what was read against the size that the file had.

        Args:
            n_bytes: How many bytes were read, unpacked.

        Raises:
            SourceError: The file changed.
        """
        # Elsewhere the size is what a server says, which may have packed the answer.
        if self.location.path is not None and self.location.packing is None and self.location.size != n_bytes:
            raise self.changed()


def unique_columns(names: Iterable[str], name: str) -> tuple[str, ...]:
    """Name the columns that have no name by their place: "column 3".

    Args:
        names: The names as the file has them.
        name: The file, for the error.

    Raises:
        SourceError: Two columns have the same name, or there are far too many.
    """
    names = list(names)
    check_columns(len(names), name)
    columns = tuple(column if column.strip() else f"column {place}" for place, column in enumerate(names, start=1))
    seen: set[str] = set()
    for column in columns:
        if column in seen:
            raise SourceError(f'{name} has more than one column "{column}".', hint="Give each its own name.")
        seen.add(column)
    return columns


def describe_titles(titles: Sequence[tuple[int, str]]) -> list[str]:
    """What is said of rows above the header.

    Args:
        titles: Their numbers and texts.
    """
    if not titles:
        return []
    (first, text), last = titles[0], titles[-1][0]
    rows = f"row {first} stands" if first == last else f"rows {first} to {last} stand"
    return [f'{rows} above the header and {"is" if first == last else "are"} not read ("{masked(text, 0, 60)}")']


def describe_headers_again(numbers: Sequence[int]) -> list[str]:
    """What is said of rows that repeat the header.

    Args:
        numbers: Theirs.
    """
    if not numbers:
        return []
    rows = f"row {numbers[0]}" if len(numbers) == 1 else f"{len(numbers):,} rows (the first: row {numbers[0]})"
    return [f"the header comes again in {rows}, which {'is' if len(numbers) == 1 else 'are'} left out"]


def object_keys(rows: Sequence[Row], name: str) -> tuple[str, ...]:
    """The keys of a file's objects, in the order in which they come up.

    Raises:
        SourceError: There are far too many.
    """
    keys = tuple(dict.fromkeys(key for row in rows for key in row.values))
    check_columns(len(keys), name)
    return keys


def blocks_of_rows(
    rows: Iterable[tuple[Row, int]], file: int, bytes_read: Callable[[int], int], *, file_bytes: int | None = None
) -> Iterator[RowsBlock]:
    """Put rows into blocks of a few megabytes.

    Args:
        rows: Each with its size, in whatever measure comes close to bytes.
        file: Index of the file in the source.
        bytes_read: How many bytes of the file were read when rows of so much size were.
        file_bytes: The file's size, which the last block completes where `bytes_read` only estimates; None where it
            is exact.
    """
    held: list[Row] = []
    size = total = reported = 0
    for row, row_size in rows:
        if size >= BLOCK_BYTES:
            reported_before, total = reported, total + size
            reported = bytes_read(total)
            yield RowsBlock(file, held, source_bytes=reported - reported_before)
            held, size = [], 0
        held.append(row)
        size += max(row_size, _LEAST_ROW_BYTES)
    if held:
        read = bytes_read(total + size) if file_bytes is None else file_bytes
        yield RowsBlock(file, held, source_bytes=read - reported)
