"""JSON documents: an array of objects, or one object that holds such an array. Read a few megabytes at a time."""

from collections.abc import Generator, Iterator
from typing import Any

from retune.config import SourceFormat
from retune.data.blocks import Block, Finding, Row
from retune.data.jsonl import parse_line
from retune.data.quoting import masked
from retune.data.sources.byte_stream import ByteStream
from retune.data.sources.json_text import ADVICE, JsonText, NotStrictError
from retune.data.sources.jsonl_files import JsonLinesReader
from retune.data.sources.locations import Location
from retune.data.sources.reader import FileReader, TextNotes, blocks_of_rows, object_keys
from retune.errors import SourceError

_HEAD_BYTES = 1 << 16
_MOST_KEYS_SHOWN = 20
_EXPECTED_COMMA = "Expecting ',' delimiter"


def open_json(location: Location) -> FileReader:
    """Open a file called .json, which may be JSONL all the same: then it is read as that.

    Raises:
        SourceError: It can't be read, or holds neither.
    """
    return JsonLinesReader(location) if _is_jsonl(location) else JsonArrayReader(location)


def _is_jsonl(location: Location) -> bool:
    """Whether the first line with anything in it is a whole object, and another such line follows."""
    with ByteStream(location, "JSON") as stream:
        if not stream.peek(_HEAD_BYTES).lstrip().startswith(b"{"):
            return False
        most = location.bounds.row_bytes
        lines = (line.strip() for line in iter(lambda: stream.take_line(most), b""))
        first = next((line for line in lines if line), b"")
        return len(first) < most and isinstance(parse_line(first), dict) and stream.has_text()


class JsonArrayReader(FileReader):
    """A JSON array of objects, or the one such array that is a member of an object.

    Args:
        location: The file.

    Raises:
        SourceError: It can't be read, isn't JSON, or holds no objects.
    """

    def __init__(self, location: Location) -> None:
        super().__init__(location, SourceFormat.JSON, "row")
        with ByteStream(location, "JSON") as stream:
            self._member = self._find_rows(self._text_of(stream))
        first_rows = self.sample()
        if not first_rows:
            raise SourceError(f"{location.name} is empty: its JSON array has no elements.")
        self.columns = object_keys(first_rows, location.name)

    def _text_of(self, stream: ByteStream) -> JsonText:
        return JsonText(stream, self.location.name, self.location.bounds)

    def blocks(self, file: int) -> Generator[Block, None, None]:
        """Read the whole file; see `FileReader`."""
        with ByteStream(self.location, "JSON") as stream:
            self.notes = TextNotes(stream.has_byte_order_mark)
            text = self._text_of(stream)
            yield from blocks_of_rows(self._rows(text), file, lambda _size: stream.stored_bytes_taken)
            self.notes.windows_line_ends = text.windows_line_ends
            self.check_size(stream.taken)

    def _rows(self, text: JsonText) -> Iterator[tuple[Row, int]]:
        """The rows, each with its length in characters."""
        if self._member is not None:
            self._go_to(text, self._member)
        yield from _elements(text)
        if self._member is None and text.next_mark():
            raise text.not_json("Extra data")
        # The rest of an object was looked at before.
        text.read_to_the_end()

    def _find_rows(self, text: JsonText) -> int | None:
        """Which member of an object holds the rows; None where the document is an array itself."""
        name, mark = self.location.name, text.next_mark()
        if not mark:
            raise SourceError(f"{name} is empty: there is nothing in it but white space.")
        if mark == "[":
            return None
        if mark != "{":
            raise _no_array(name, repr(_strict_value(text, name)))
        found, keys = [], []
        for number, key in _members(text, name):
            keys += [key] if number < _MOST_KEYS_SHOWN else []
            if text.next_mark() != "[":
                _strict_value(text, name)
            elif _are_rows(text):
                found.append(number)
        if text.next_mark():
            raise text.not_json("Extra data")
        if len(found) != 1:
            raise _no_array(name, f"an object with the keys {masked(', '.join(map(repr, keys)), 0, 80)}")
        return found[0]

    def _go_to(self, text: JsonText, member: int) -> None:
        for number, _ in _members(text, self.location.name):
            if number == member:
                return
            if text.next_mark() == "[":
                _are_rows(text)
            else:
                _strict_value(text, self.location.name)
        raise self.changed()


def _members(text: JsonText, name: str) -> Iterator[tuple[int, str]]:
    """The members of an object by number and key; whoever asks for the next has passed over the value of the last."""
    text.take_mark("{", "Expecting '{'")
    number = 0
    while text.next_mark() != "}" or number:
        if text.next_mark() != '"':
            raise text.not_json("Expecting property name enclosed in double quotes")
        key = str(_strict_value(text, name))
        text.take_mark(":", "Expecting ':' delimiter")
        yield number, key
        number += 1
        if text.next_mark() == "}":
            break
        text.take_mark(",", _EXPECTED_COMMA)
    text.take_mark("}", _EXPECTED_COMMA)


def _elements(text: JsonText) -> Iterator[tuple[Row, int]]:
    text.take_mark("[", "Expecting '['")
    number = 0
    while text.next_mark() != "]" or number:
        number += 1
        try:
            value, length = text.take_value(f"row {number}")
        except NotStrictError as error:
            yield Row(number, {}, (Finding("not_json", f"not valid JSON ({error})."),)), error.length
        else:
            yield _row(number, value), length
        if text.next_mark() == "]":
            break
        text.take_mark(",", _EXPECTED_COMMA)
    text.take_mark("]", _EXPECTED_COMMA)


def _are_rows(text: JsonText) -> bool:
    """Whether an array is of objects, and not of the messages of a single conversation; it is passed over."""
    count, are_rows = 0, True
    for row, _ in _elements(text):
        count += 1
        are_rows = are_rows and "role" not in row.values and not _is_no_object(row)
    return are_rows and count > 0


def _is_no_object(row: Row) -> bool:
    return any(finding.message.startswith(_NO_OBJECT) for finding in row.findings)


_NO_OBJECT = "expected a JSON object"


def _row(number: int, value: Any) -> Row:
    if isinstance(value, dict):
        return Row(number, value)
    found = masked(repr(value), 0, 40)
    return Row(number, {}, (Finding("not_json", f"{_NO_OBJECT}, found {found}."),))


def _strict_value(text: JsonText, name: str) -> Any:
    try:
        return text.take_value("what stands outside of the rows")[0]
    except NotStrictError as error:
        raise SourceError(f"{name}: not valid JSON ({error}).") from None


def _no_array(name: str, found: str) -> SourceError:
    return SourceError(f"{name}: expected a JSON array of objects, found {masked(found, 0, 120)}.", hint=ADVICE)
