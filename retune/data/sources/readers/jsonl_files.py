"""JSONL: one JSON object a line. Lines are parsed in the process that analyzes them."""

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from retune.config import SourceFormat
from retune.data.problems.problems import Finding
from retune.data.sources.blocks import BLOCK_BYTES, MOST_BLOCK_ROWS, SAMPLE_ROWS, Block, Row, RowTaker
from retune.data.sources.files.byte_stream import ByteStream, count_line_feeds
from retune.data.sources.files.locations import Location
from retune.data.sources.readers.reader import FileReader, TextNotes, object_keys
from retune.data.sources.readers.repeated_keys import ESCAPED_QUOTE, find_repeated_keys, row_of
from retune.data.text.arrow_arrays import count_byte
from retune.data.text.jsonl import parse_line, parse_quickly
from retune.errors import SourceError

# Of the white space that bytes.isspace knows, JSON takes these alone.
_SPACE = b" \t\r"
_FILLED_LINE = re.compile(rb"[^ \t\r\n][^\n]*")
_LEAST_LINE_BYTES = 4
_QUOTE, _ESCAPED_QUOTE = ord('"'), ESCAPED_QUOTE.encode()

_ARRAY_ADVICE = (
    "Use --format json to read it as it is, or make it one object a line: jq -c '.[]' data.json > data.jsonl"
)

_LIST_ADVICE = "Name what the lists hold: jq -c '{question: .[0], answer: .[1]}' FILE.jsonl > named.jsonl"


@dataclass(slots=True)
class JsonLinesBlock(Block):
    """Whole lines of JSONL, as they are in the file.

    Attributes:
        content: The lines; the last may lack its end.
        first: Number of the first of them.
    """

    content: bytes
    first: int

    def rows(self) -> Iterator[Row]:
        """A row for each line that isn't blank; one that is not a JSON object says so in its findings."""
        for number, line in _filled_lines(self.content, self.first):
            yield _read_row(number, line)

    def rows_left(self, take: Callable[[int, object], bool]) -> list[Row]:
        """Offer every row; only those that were not taken are read with all care."""
        return [_read_row(number, line) for number, line in self._lines_left(take, parse_quickly)]

    def offer(self, taker: RowTaker) -> list[Row]:
        """Offer every row, and once more those of a block in which keys may be repeated."""
        left = self._lines_left(taker.take, parse_quickly)
        n_quotes = count_byte(self.content, _QUOTE) + self.content.count(_ESCAPED_QUOTE)
        n_quotes -= sum(_count_quotes(line) for _, line in left)
        if n_quotes != taker.n_quotes:
            # A key may stand twice in an object, of which the quick parser says nothing.
            taker.start_again()
            left = self._lines_left(taker.take, _parse_unless_repeated)
        return [_read_row(number, line) for number, line in left]

    def _lines_left(
        self, take: Callable[[int, object], bool], parse: Callable[[bytes], Any]
    ) -> list[tuple[int, bytes]]:
        lines = _filled_lines(self.content, self.first)
        return [(number, line) for number, line in lines if not take(number, parse(line))]


def _count_quotes(line: bytes) -> int:
    return line.count(b'"') + line.count(_ESCAPED_QUOTE)


def _read_row(number: int, line: bytes) -> Row:
    value = parse_line(line)
    if isinstance(value, Finding):
        return Row(number, {}, (value,))
    return row_of(number, value, _count_quotes(line), line.decode)


def _parse_unless_repeated(line: bytes) -> object:
    value = parse_quickly(line)
    return None if value is None or find_repeated_keys(value, _count_quotes(line), line.decode) else value


def _pieces(block: JsonLinesBlock) -> Iterator[JsonLinesBlock]:
    """The same lines as blocks of at most `MOST_BLOCK_ROWS`."""
    start, first, source_bytes = 0, block.first, block.source_bytes
    while start < len(block.content):
        *lines, rest = block.content[start:].split(b"\n", MOST_BLOCK_ROWS)
        is_last = len(lines) < MOST_BLOCK_ROWS
        end = len(block.content) if is_last else len(block.content) - len(rest)
        yield JsonLinesBlock(block.file, block.content[start:end], first, source_bytes=source_bytes)
        start, first, source_bytes = end, first + MOST_BLOCK_ROWS, 0


def _filled_lines(content: bytes, first: int) -> Iterator[tuple[int, bytes]]:
    """The lines with anything in them, with their numbers."""
    # No object takes fewer bytes; where most lines are blank, looking for the others is twenty times as fast.
    if count_line_feeds(content) * _LEAST_LINE_BYTES > len(content):
        number, counted = first, 0
        for found in _FILLED_LINE.finditer(content):
            number += content.count(b"\n", counted, found.start())
            counted = found.start()
            yield number, content[content.rfind(b"\n", 0, counted) + 1 : found.end()]
        return
    for number, line in enumerate(content.split(b"\n"), start=first):
        if line.strip(_SPACE):
            yield number, line


class JsonLinesReader(FileReader):
    """A file of JSONL.

    Args:
        location: The file.
        block_bytes: About how much is read at a time.

    Raises:
        SourceError: It can't be read, or its first line does not look like a JSON object.
    """

    def __init__(self, location: Location, *, block_bytes: int = BLOCK_BYTES) -> None:
        super().__init__(location, SourceFormat.JSONL, "line")
        self._block_bytes = block_bytes
        self._check_first_line()
        self.columns = object_keys(self.sample(SAMPLE_ROWS), location.name)

    def blocks(self, file: int) -> Generator[JsonLinesBlock, None, None]:
        """Read the whole file; see `FileReader`."""
        reported, line = 0, 1
        with ByteStream(self.location, "JSONL") as stream:
            self.notes = TextNotes(stream.has_byte_order_mark)
            while size := self._whole_lines(stream, line):
                content = stream.take(size)
                if b"\r" in content:
                    self.notes.windows_line_ends += content.count(b"\r\n")
                source_bytes = stream.stored_bytes_taken - reported
                reported += source_bytes
                n_lines = count_line_feeds(content)
                if n_lines <= MOST_BLOCK_ROWS or not content.strip():
                    yield JsonLinesBlock(file, content, line, source_bytes=source_bytes)
                else:
                    yield from _pieces(JsonLinesBlock(file, content, line, source_bytes=source_bytes))
                line += n_lines
                self.notes.row_numbers = (1, line - content.endswith(b"\n"))
            self.check_size(stream.taken)

    def _whole_lines(self, stream: ByteStream, line: int) -> int:
        """How many of the next bytes are whole lines; 0 at the end."""
        size = self._block_bytes
        while True:
            content, is_last = stream.peek_block(size)
            if is_last:
                return len(content)
            end = content.rfind(b"\n") + 1
            if end:
                return end
            most = self.location.bounds.row_bytes
            if size > most:
                raise self.location.bounds.row_too_large(f"{self.location.name}, line {line}")
            size = min(2 * size, most + 1)

    def _check_first_line(self) -> None:
        blocks = self.blocks(0)
        with closing(blocks):
            for block in blocks:
                for number, line in _filled_lines(block.content, block.first):
                    self._check_start(line, f"{self.location.name}, line {number}")
                    return
        raise SourceError(f"{self.location.name} is empty: it has no line with anything in it.")

    def _check_start(self, line: bytes, where: str) -> None:
        if line.lstrip().startswith(b"["):
            # A line that ends is a row of its own, without names for what it holds.
            hint = _LIST_ADVICE if line.rstrip().endswith(b"]") and b'{"' not in line else _ARRAY_ADVICE
            raise SourceError(f"{where}: expected a JSON object, found the start of a JSON array.", hint=hint)
        value = parse_line(line)
        if isinstance(value, Finding) and (line.strip() == b"{" or not line.lstrip().startswith(b"{")):
            raise SourceError(f"{where}: {value.message}", hint="Every line must be one whole JSON object.")
