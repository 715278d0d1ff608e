"""CSV and TSV: Arrow reads what is regular, a stricter and slower reader the rest, and both give the same rows."""

from collections.abc import Generator, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from retune.config import SourceFormat
from retune.data.sources.blocks import BLOCK_BYTES, MOST_BLOCK_ROWS, ArrowBlock, Block, RowsBlock
from retune.data.sources.files.byte_stream import ByteStream
from retune.data.sources.files.locations import Location
from retune.data.sources.readers.csv_layout import CsvLayout, read_rows
from retune.data.sources.readers.csv_rows import CsvRows
from retune.data.sources.readers.reader import (
    FileReader,
    TextNotes,
    describe_headers_again,
    describe_titles,
    unique_columns,
)
from retune.data.sources.readers.table_edges import MOST_TOTALS, count_totals, describe_two_headers, doubt_header
from retune.data.text.arrow_arrays import count_byte, text_scalar
from retune.errors import SourceError

# Arrow's own handler loses a Ctrl-C that comes as it ends reading a block.
pa.enable_signal_handlers(False)

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WINDOW = 1 << 17
_ROWS_BELOW, _BYTES_BELOW = 50, 1 << 16
_ROWS_LOOKED_AT = 50
_QUOTE, _LF, _CR = b'"\n\r'


class CsvReader(FileReader):
    """A table of text: "NA" and "null" are words, and numbers stay as they are written.

    Rows are numbered as a spreadsheet does: the header is row 1, unless blank lines stand before it, and rows with
    nothing in them count.

    Args:
        location: The file.
        format: CSV or TSV; of CSV the header tells what separates its cells.
        has_header: Its first row names its columns; else they are called by their place, "column 1".
        block_bytes: About how much is read at a time.

    Raises:
        SourceError: It can't be read, or its header can't.
    """

    def __init__(
        self,
        location: Location,
        format: SourceFormat,  # noqa: A002
        *,
        has_header: bool = True,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        super().__init__(location, format, "row")
        self._block_bytes = block_bytes
        self._has_header = has_header
        with ByteStream(location, format.upper()) as stream:
            rows = self._rows_of(stream)
            self.columns = self._read_header(rows)
            content, is_whole = stream.peek_block(_BYTES_BELOW)
        below = read_rows(content.decode(errors="replace"), rows.layout, is_whole=is_whole, most=_ROWS_BELOW)
        self.header_doubt = doubt_header(self.columns, below or []) if has_header else None

    def _rows_of(self, stream: ByteStream) -> CsvRows:
        return CsvRows(
            stream, self.location.name, self.location.bounds, "\t" if self.format is SourceFormat.TSV else None
        )

    def _read_header(self, rows: CsvRows) -> tuple[str, ...]:
        header = rows.read_header(passes_titles=self._has_header)
        try:
            return unique_columns(header if self._has_header else [""] * len(header), self.location.name)
        except SourceError as error:
            hint = f"{error.hint} If the first row is an example, use --no-header."
            raise SourceError(error.message, hint=hint) from None

    def blocks(self, file: int) -> Generator[Block, None, None]:
        """Read the whole file; see `FileReader`."""
        # Held back until the next is read: the totals at the end may begin in it.
        before: ArrowBlock | RowsBlock | None = None
        failure: SourceError | None = None
        with ByteStream(self.location, self.format.upper()) as stream:
            try:
                for block in self._read_blocks(stream, file):
                    if not stream.peek(1):
                        self._take_off_totals([block] if before is None else [before, block])
                    if before is not None:
                        yield from _pieces(before)
                    before = block
            except SourceError as error:
                failure = error
            if before is not None:
                yield from _pieces(before)
            if failure is not None:
                raise failure
            self.check_size(stream.taken)

    def _read_blocks(self, stream: ByteStream, file: int) -> Iterator[ArrowBlock | RowsBlock]:
        rows = self._rows_of(stream)
        self.notes = TextNotes(stream.has_byte_order_mark, layout=list(rows.layout.notes))
        if self._has_header and self._read_header(rows) != self.columns:
            raise self.changed()
        self.notes.layout += describe_titles(rows.titles) + describe_two_headers(rows.header_rows, self.columns)
        first, reported = rows.number + 1, 0
        table = _RegularRows(self.columns, rows.layout)
        rows.skip_blank_lines()
        while stream.peek(1):
            block = self._read_regular(stream, rows, table, file) or self._read_strictly(stream, rows, file)
            block.source_bytes = stream.stored_bytes_taken - reported
            reported += block.source_bytes
            self.notes.windows_line_ends = rows.windows_line_ends
            self.notes.row_numbers = (first, rows.number)
            rows.skip_blank_lines()
            yield block
        self.notes.layout += describe_headers_again(rows.headers_again)

    def _read_regular(self, stream: ByteStream, rows: CsvRows, table: "_RegularRows", file: int) -> ArrowBlock | None:
        content, is_last = stream.peek_block(self._block_bytes)
        size = table.find_end(content, is_last=is_last) if rows.layout.is_plain else 0
        batch = table.parse(content, size) if size else None
        if batch is None or any(_has_row(batch, header) for _, header in rows.header_rows):
            return None
        stream.skip(size)
        block = ArrowBlock(file, rows.number + 1, batch, skips_empty=True, source_bytes=0)
        rows.number += len(batch)
        rows.line += table.n_lines
        rows.windows_line_ends += table.windows_line_ends
        return block

    def _read_strictly(self, stream: ByteStream, rows: CsvRows, file: int) -> RowsBlock:
        start = stream.taken
        block = RowsBlock(file, [], source_bytes=0)
        for row in rows.read(self.columns):
            block.values.append(row)
            if stream.taken - start >= self._block_bytes or len(block.values) == MOST_BLOCK_ROWS:
                break
        return block

    def _take_off_totals(self, blocks: list[ArrowBlock | RowsBlock]) -> None:
        """Look whether the table's last rows sum it up; those that certainly do are taken off its last blocks."""
        last = [row for block in blocks for row in _last_filled(block)]
        n_totals, are_certain = count_totals([cells for _, cells in last])
        if not n_totals:
            return
        numbers = [number for number, _ in last[-n_totals:]]
        self.notes.add_totals(numbers, last[-n_totals][1], are_left_out=are_certain)
        if are_certain and self.notes.row_numbers is not None:
            self.notes.row_numbers = (self.notes.row_numbers[0], numbers[0] - 1)
        if not are_certain:
            return
        for block in blocks:
            if isinstance(block, ArrowBlock):
                block.batch = block.batch.slice(0, max(0, numbers[0] - block.first))
            else:
                block.values[:] = [row for row in block.values if row.number < numbers[0]]


class _RegularRows:
    """Rows that Arrow reads as RFC 4180 has them, because their quotes are all where it puts them.

    Attributes:
        n_lines: Of what was parsed last.
        windows_line_ends: How many lines of it end in CRLF, outside of quotes.
    """

    def __init__(self, columns: tuple[str, ...], layout: CsvLayout) -> None:
        # Serial, as blocks are described in other processes meanwhile. Blank lines are rows, so that all are counted.
        self._read = arrow_csv.ReadOptions(column_names=list(columns), use_threads=False)
        self._has_quotes = layout.has_quotes
        self._parse = arrow_csv.ParseOptions(
            delimiter=layout.delimiter,
            quote_char='"' if layout.has_quotes else False,
            newlines_in_values=layout.has_quotes,
            ignore_empty_lines=False,
        )
        self._convert = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
        )
        self._may_stand_beside_quotes = np.zeros(256, np.bool_)
        self._may_stand_beside_quotes[[ord(layout.delimiter), _LF, _CR, _QUOTE]] = True
        self.n_lines = self.windows_line_ends = 0

    def find_end(self, content: bytes, *, is_last: bool) -> int:
        """How many of the bytes are whole rows with regular quotes; 0 where there are none, or other quotes.

        Args:
            content: Starts with a row.
            is_last: It goes to the end of the file.
        """
        if content.startswith(_BYTE_ORDER_MARK):
            return 0  # Arrow would leave it out, and in the midst of a file it is text.
        self._quotes = _places_of(content, _QUOTE) if self._has_quotes else np.zeros(0, np.int64)
        end = len(content)
        if not is_last or len(self._quotes) % 2:
            end = content.rfind(b"\n") + 1
            while end and (before := int(np.searchsorted(self._quotes, end))) % 2:
                end = content.rfind(b"\n", 0, int(self._quotes[before - 1])) + 1
        return end if end and self._are_regular(content, end) else 0

    def _are_regular(self, content: bytes, end: int) -> bool:
        quotes = self._quotes[: np.searchsorted(self._quotes, end)]
        # A quote written twice closes a cell and opens it again, as far as this is concerned.
        opening, closing = quotes[0::2], quotes[1::2]
        letters = np.frombuffer(content, np.uint8)
        before = letters[opening[opening > 0] - 1]
        after = letters[closing[closing < end - 1] + 1]
        return bool(self._may_stand_beside_quotes[before].all() and self._may_stand_beside_quotes[after].all())

    def parse(self, content: bytes, end: int) -> pa.RecordBatch | None:
        """Parse whole rows; None where one of them has another width or isn't UTF-8.

        Args:
            content: What `find_end` looked at.
            end: What it found.
        """
        self._read.block_size = end + 1
        try:
            rows = pa.BufferReader(pa.py_buffer(content).slice(0, end))
            # The stubs have paths and Python's files alone.
            table = arrow_csv.read_csv(rows, self._read, self._parse, self._convert)  # type: ignore[arg-type]
        except pa.ArrowInvalid:
            return None
        self.n_lines = count_byte(content, _LF, end)
        self.windows_line_ends = self._count_windows_line_ends(content, end, len(table))
        return table.combine_chunks().to_batches()[0]

    def _count_windows_line_ends(self, content: bytes, end: int, n_rows: int) -> int:
        n_returns = count_byte(content, _CR, end)
        if n_returns == 0 or n_returns == n_rows == self.n_lines:
            return n_returns
        letters = np.frombuffer(content, np.uint8, end)
        returns = _places_of(content, _CR)
        returns = returns[returns < end - 1]
        pairs = returns[letters[returns + 1] == _LF]
        return int((np.searchsorted(self._quotes, pairs) % 2 == 0).sum())


def _pieces(block: ArrowBlock | RowsBlock) -> Iterable[Block]:
    return block.pieces() if isinstance(block, ArrowBlock) else (block,)


def _last_filled(block: ArrowBlock | RowsBlock) -> list[tuple[int, list[str]]]:
    """The last rows with anything in them, as many as may be totals and one more, with their numbers."""
    if isinstance(block, RowsBlock):
        return [(row.number, [*row.values.values()]) for row in block.values[-MOST_TOTALS - 1 :]]
    last: list[tuple[int, list[str]]] = []
    end = len(block.batch)
    while end and len(last) <= MOST_TOTALS:
        start = max(0, end - _ROWS_LOOKED_AT)
        rows = enumerate(block.batch.slice(start, end - start).to_pylist(), block.first + start)
        last = [(number, cells) for number, row in rows if any(map(str.strip, cells := [*row.values()]))] + last
        end = start
    return last


def _has_row(batch: pa.RecordBatch, cells: tuple[str, ...]) -> bool:
    """Whether a row has these cells, however they are quoted."""
    for column, cell in enumerate(cells):
        batch = batch.filter(pc.equal(batch.column(column), text_scalar(cell)))
        if not len(batch):
            return False
    return True


def _places_of(content: bytes, letter: int) -> npt.NDArray[np.int64]:
    if letter not in content:
        return np.zeros(0, np.int64)
    return np.concatenate([np.flatnonzero(found) + at for at, found in _found(content, letter, len(content))])


def _found(content: bytes, letter: int, end: int) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Whether each byte is the letter, in windows that fit into the processor's cache, with their places."""
    letters = np.frombuffer(content, np.uint8, end)
    return ((at, letters[at : at + _WINDOW] == letter) for at in range(0, end, _WINDOW))
