"""JSON documents: an array of objects, or one object that holds such an array."""

import json
import re
from collections.abc import Generator, Iterator
from typing import Any

from retune.config import SourceFormat
from retune.data.blocks import Block, Finding, Row
from retune.data.encoding import decode_utf8
from retune.data.jsonl import STRICT_DECODER, parse_line
from retune.data.quoting import masked
from retune.data.sources.byte_stream import ByteStream
from retune.data.sources.jsonl_files import MOST_LINE_BYTES, JsonLinesReader
from retune.data.sources.locations import Location
from retune.data.sources.reader import FileReader, TextNotes, blocks_of_rows, object_keys
from retune.errors import SourceError

_SPACE = re.compile(r"[ \t\r\n]*")
_HEAD_BYTES = 1 << 16
_EVERYTHING = 1 << 62


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
        lines = (line.strip() for line in iter(lambda: stream.take_line(MOST_LINE_BYTES), b""))
        filled = (line for line in lines if line)
        first = next(filled, b"")
        return isinstance(parse_line(first), dict) and next(filled, None) is not None


class JsonArrayReader(FileReader):
    """A JSON array of objects. The text is read whole, so this takes memory as large as the file; JSONL streams.

    Args:
        location: The file.

    Raises:
        SourceError: It can't be read, isn't JSON, or holds no objects.
    """

    def __init__(self, location: Location) -> None:
        super().__init__(location, SourceFormat.JSON, "row")
        first_rows = self.sample()
        if not first_rows:
            raise SourceError(f"{location.name} is empty: its JSON array has no elements.")
        self.columns = object_keys(first_rows)

    def blocks(self, file: int) -> Generator[Block, None, None]:
        """Read the whole file; see `FileReader`."""
        with ByteStream(self.location, "JSON") as stream:
            self.notes = TextNotes(stream.has_byte_order_mark)
            content = stream.take(len(stream.peek(_EVERYTHING)))
            self.check_size(stream.taken)
        self.notes.windows_line_ends = content.count(b"\r\n")
        n_bytes = self.location.size or len(content)
        text = decode_utf8(content, self.location.name)
        del content
        yield from blocks_of_rows(_elements(text, self.location.name), file, n_bytes)


def _elements(text: str, name: str) -> Iterator[tuple[Row, int]]:
    """The rows, each with its length in characters."""
    position = _skip_space(text, 0)
    if position == len(text):
        raise SourceError(f"{name} is empty: there is nothing in it but white space.")
    if text[position] != "[":
        values = _list_inside(text, name)
        for number, value in enumerate(values, start=1):
            yield _row(number, value), len(text) // len(values)
        return
    position = _skip_space(text, position + 1)
    number = 0
    while text[position : position + 1] != "]" or number:
        number += 1
        row, end = _element(text, position, number, name)
        yield row, end - position
        position = _skip_space(text, end)
        mark = text[position : position + 1]
        if mark == "]":
            break
        if mark != ",":
            raise _not_json(json.JSONDecodeError("Expecting ',' delimiter", text, position), name)
        position = _skip_space(text, position + 1)
    rest = _skip_space(text, position + 1)
    if rest < len(text):
        raise _not_json(json.JSONDecodeError("Extra data", text, rest), name)


def _element(text: str, position: int, number: int, name: str) -> tuple[Row, int]:
    try:
        value, end = STRICT_DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise _not_json(error, name) from None
    except RecursionError:
        raise SourceError(f"{name}, row {number}: not valid JSON (nested too deeply).") from None
    except ValueError as error:
        # NaN, which many programs write all the same: where it ends is known, so the rows after it can be read.
        return _skip_element(text, position, number, name, error)
    return _row(number, value), end


def _skip_element(text: str, position: int, number: int, name: str, fault: ValueError) -> tuple[Row, int]:
    try:
        _, end = json.JSONDecoder().raw_decode(text, position)
    except ValueError:
        raise SourceError(f"{name}, row {number}: not valid JSON ({fault}).") from None
    return Row(number, {}, (Finding("not_json", f"not valid JSON ({fault})."),)), end


def _row(number: int, value: Any) -> Row:
    if isinstance(value, dict):
        return Row(number, value)
    found = masked(repr(value), 0, 40)
    return Row(number, {}, (Finding("not_json", f"expected a JSON object, found {found}."),))


def _list_inside(text: str, name: str) -> list[Any]:
    """The rows of a document such as `{"data": [{…}, …]}`."""
    try:
        value = STRICT_DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _not_json(error, name) from None
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{name}: not valid JSON ({error}).") from None
    if isinstance(value, dict):
        lists = [item for item in value.values() if _is_list_of_rows(item)]
        if len(lists) == 1:
            return list(lists[0])
    found = (
        f"an object with the keys {masked(', '.join(map(repr, value)), 0, 80)}"
        if isinstance(value, dict)
        else repr(value)
    )
    raise SourceError(
        f"{name}: expected a JSON array of objects, found {masked(found, 0, 120)}.",
        hint="Write the examples as [{…}, {…}], or one object a line with --format jsonl.",
    )


def _is_list_of_rows(value: Any) -> bool:
    """Whether it is a list of objects, and not of the messages of a single conversation."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) and "role" not in row for row in value)


def _skip_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _not_json(error: json.JSONDecodeError, name: str) -> SourceError:
    found = repr(masked(error.doc, error.pos, error.pos + 40)) if error.pos < len(error.doc) else "the end of the file"
    return SourceError(
        f"{name}, line {error.lineno}, column {error.colno}: not valid JSON ({error.msg}; found {found}).",
        hint="Write the examples as [{…}, {…}], or one object a line with --format jsonl.",
    )
