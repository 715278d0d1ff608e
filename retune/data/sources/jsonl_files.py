"""JSONL: one JSON object a line. Lines are parsed where they are described, in whatever process that is."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from retune.config import SourceFormat
from retune.data.blocks import BLOCK_BYTES, Block, Finding, Row
from retune.data.jsonl import parse_line
from retune.data.sources.byte_stream import ByteStream
from retune.data.sources.locations import Location
from retune.data.sources.reader import SAMPLE_ROWS, FileReader, TextNotes, object_keys
from retune.errors import SourceError

MOST_LINE_BYTES = 256 << 20
"""No example comes near: ten images of 10 MB in base64 are 140 MB."""

_ARRAY_ADVICE = (
    "Say --format json to read it as it is, or make it one object a line: jq -c '.[]' data.json > data.jsonl"
)


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
        """A row for each line that isn't blank; one that is no JSON object says so in its findings."""
        for number, line in enumerate(self.content.split(b"\n"), start=self.first):
            # Of the white space that bytes.isspace knows, JSON takes these alone.
            if not line.strip(b" \t\r"):
                continue
            value = parse_line(line)
            yield Row(number, {}, (value,)) if isinstance(value, Finding) else Row(number, value)


class JsonLinesReader(FileReader):
    """A file of JSONL.

    Args:
        location: The file.
        block_bytes: About how much is read at a time.

    Raises:
        SourceError: It can't be read, or its first line is no JSON object by the look of it.
    """

    def __init__(self, location: Location, *, block_bytes: int = BLOCK_BYTES) -> None:
        super().__init__(location, SourceFormat.JSONL, "line")
        self._block_bytes = block_bytes
        self._check_first_line()
        self.columns = object_keys(self.sample(SAMPLE_ROWS))

    def blocks(self, file: int) -> Generator[JsonLinesBlock, None, None]:
        """Read the whole file; see `FileReader`."""
        told, line = 0, 1
        with ByteStream(self.location, "JSONL") as stream:
            self.notes = TextNotes(stream.has_byte_order_mark)
            while size := self._whole_lines(stream, line):
                content = stream.take(size)
                if b"\r" in content:
                    self.notes.windows_line_ends += content.count(b"\r\n")
                source_bytes = stream.stored_bytes_taken - told
                told += source_bytes
                yield JsonLinesBlock(file, content, line, source_bytes=source_bytes)
                line += content.count(b"\n")
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
            if size > MOST_LINE_BYTES:
                raise SourceError(f"{self.location.name}, line {line} is longer than {MOST_LINE_BYTES >> 20} MB.")
            size *= 2

    def _check_first_line(self) -> None:
        blocks = self.blocks(0)
        with closing(blocks):
            for block in blocks:
                for number, line in enumerate(block.content.split(b"\n"), start=block.first):
                    if line.strip(b" \t\r"):
                        self._check_start(line, f"{self.location.name}, line {number}")
                        return
        raise SourceError(f"{self.location.name} is empty: it has no line with anything in it.")

    def _check_start(self, line: bytes, where: str) -> None:
        if line.lstrip().startswith(b"["):
            raise SourceError(f"{where}: expected a JSON object, found the start of a JSON array.", hint=_ARRAY_ADVICE)
        value = parse_line(line)
        if isinstance(value, Finding) and (line.strip() == b"{" or not line.lstrip().startswith(b"{")):
            raise SourceError(f"{where}: {value.message}", hint="Every line must be one whole JSON object.")
