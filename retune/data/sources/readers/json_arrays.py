"""JSON documents: an array of objects, or an object that holds such arrays. Read a few megabytes at a time."""

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from retune.config import SourceFormat
from retune.data.problems.problems import Finding
from retune.data.sources.blocks import Block, Row
from retune.data.sources.files.byte_stream import ByteStream
from retune.data.sources.files.locations import Location
from retune.data.sources.readers.json_advice import ADVICE, advice_on_elements, advice_on_object, outline_of
from retune.data.sources.readers.json_text import JsonText, NotStrictError
from retune.data.sources.readers.jsonl_files import JsonLinesReader
from retune.data.sources.readers.reader import FileReader, TextNotes, blocks_of_rows, object_keys
from retune.data.sources.readers.repeated_keys import row_of
from retune.data.sources.split_names import split_of_key
from retune.data.text.jsonl import parse_line
from retune.errors import SourceError
from retune.redaction.masking import masked
from retune.training_lines.keys import JsonObject

_HEAD_BYTES = 1 << 16
_MOST_KEYS_SHOWN = 20
_MOST_SHOWN = 40
_CONVERSATIONS = {"role": "messages", "from": "conversations"}
"""By a key of each of its messages: what a conversation is called."""

_ARRAY, _ROWS = [""], [{"": ""}]
"""What stands for an array in an outline, and for one of objects."""

_EXPECTED_COMMA = "Expecting ',' delimiter"


class NoRowsError(SourceError):
    """A JSON document that holds no rows."""


def open_json(location: Location) -> Sequence[FileReader]:
    """Open a file called .json, which may be JSONL all the same: then it is read as that.

    Returns:
        A reader for each array that is read: several where the document holds one for each split.

    Raises:
        NoRowsError: It is JSON and holds no rows.
        SourceError: It can't be read.
    """
    if _is_jsonl(location):
        return [JsonLinesReader(location)]
    with ByteStream(location, "JSON") as stream:
        members = _find_rows(JsonText(stream, location.name, location.bounds), location.name)
    return [JsonArrayReader(location, member) for member in members]


def _is_jsonl(location: Location) -> bool:
    """Whether the first line with anything in it is a whole object, and another such line follows."""
    with ByteStream(location, "JSON") as stream:
        if not stream.peek(_HEAD_BYTES).lstrip().startswith(b"{"):
            return False
        most = location.bounds.row_bytes
        lines = (line.strip() for line in iter(lambda: stream.take_line(most), b""))
        first = next((line for line in lines if line), b"")
        return len(first) < most and isinstance(parse_line(first), dict) and stream.has_text()


class _Member(NamedTuple):
    """What holds the rows of a document that is an object.

    Attributes:
        number: Of the member; None where the whole document is one row.
        split: The split that its key names.
        is_sequence: The document is none, but objects one after the other, each of which is a row.
    """

    number: int | None
    split: str | None = None
    is_sequence: bool = False


class JsonArrayReader(FileReader):
    """A JSON array of objects, an array that is a member of an object, or an object that is one conversation.

    Args:
        location: The file.
        member: What of the object is read; None for a document that is an array.

    Raises:
        SourceError: It can't be read, isn't JSON, or holds no rows.
    """

    def __init__(self, location: Location, member: _Member | None) -> None:
        if member is not None and member.split is not None:
            location = replace(location, split=member.split, split_by="keys of the document")
        super().__init__(location, SourceFormat.JSON, "row")
        self._member = member
        first_rows = self.sample()
        if not first_rows:
            raise SourceError(f"{location.name} is empty: its JSON array has no elements.")
        if all(map(_is_no_object, first_rows)):
            found = first_rows[0].findings[0].message.removeprefix(_NO_OBJECT).strip(", .")
            raise SourceError(
                f"{location.name}: expected an array of JSON objects, {found} in row 1.", hint=advice_on_elements(found)
            )
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
        if self._member is not None and self._member.is_sequence:
            self.notes.layout.append("objects stand one after the other, and each is read as a row")
            yield from _sequence(text)
        elif self._member is not None and self._member.number is None:
            yield _take_row(text, 1)
        else:
            if self._member is not None and self._member.number is not None:
                self._go_to(text, self._member.number)
            for row, length in _elements(text):
                self._note_conversations(row)
                yield row, length
        if self._member is None and text.next_mark():
            raise text.not_json("Extra data")
        # The rest of an object was looked at before.
        text.read_to_the_end()

    def _note_conversations(self, row: Row) -> None:
        if isinstance(row, _KeylessRow) and not self.notes.layout:
            [key] = row.values
            self.notes.layout.append(f'the elements are lists without a key; each is read as "{key}"')

    def _go_to(self, text: JsonText, member: int) -> None:
        for number, _ in _members(text, self.location.name):
            if number == member:
                return
            if text.next_mark() == "[":
                _are_rows(text)
            else:
                _strict_value(text, self.location.name)
        raise self.changed()


def _find_rows(text: JsonText, name: str) -> list[_Member | None]:
    """What of a document holds the rows; [None] where it is an array itself."""
    mark = text.next_mark()
    if not mark:
        raise SourceError(f"{name} is empty: there is nothing in it but white space.")
    if mark == "[":
        return [None]
    if mark != "{":
        raise _no_array(name, repr(_strict_value(text, name)))
    found, is_conversation, seen = [], False, JsonObject()
    for number, key in _members(text, name):
        outline = _outline(text, name)
        if outline is _ROWS:
            found.append(_Member(number, key if split_of_key(key) else None))
        is_conversation = is_conversation or (outline is _ARRAY and key in _CONVERSATIONS.values())
        seen |= {key: outline} if number < _MOST_KEYS_SHOWN else {}
    if text.next_mark() in ("{", ","):
        return [_Member(None, is_sequence=True)]
    if text.next_mark():
        raise text.not_json("Extra data")
    if len(found) == 1 or (found and all(member.split is not None for member in found)):
        return [*found]
    if not found and is_conversation:
        return [_Member(None)]
    keys = masked(", ".join(map(repr, seen)), 0, 80)
    raise _no_array(name, f"an object with the keys {keys}", advice_on_object(name, seen))


def _outline(text: JsonText, name: str) -> object:
    """What a member holds, in outline; it is passed over."""
    if text.next_mark() != "[":
        return outline_of(_strict_value(text, name))
    return _ROWS if _are_rows(text) else _ARRAY


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
        yield _take_row(text, number)
        if text.next_mark() == "]":
            break
        text.take_mark(",", _EXPECTED_COMMA)
    text.take_mark("]", _EXPECTED_COMMA)


def _take_row(text: JsonText, number: int) -> tuple[Row, int]:
    try:
        value, length = text.take_value(f"row {number}")
    except NotStrictError as error:
        return Row(number, {}, (Finding("not_json", f"not valid JSON ({error})."),)), error.length
    if isinstance(value, dict):
        return row_of(number, value, text.count_quotes(length), lambda: text.last_taken(length)), length
    return _row(number, value), length


def _sequence(text: JsonText) -> Iterator[tuple[Row, int]]:
    """Objects one after the other, over several lines each or all in one, perhaps with commas between them."""
    number = 0
    while text.next_mark():
        number += 1
        yield _take_row(text, number)
        if text.next_mark() == ",":
            text.take_mark(",", _EXPECTED_COMMA)


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


class _KeylessRow(Row):
    """A row whose key the document doesn't have."""


def _row(number: int, value: Any) -> Row:
    if isinstance(value, dict):
        return Row(number, value)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for mark, key in _CONVERSATIONS.items():
            if all(mark in item for item in value):
                return _KeylessRow(number, {key: value})
    found = json.dumps(value, ensure_ascii=False)
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in masked(found, 0, _MOST_SHOWN))
    cut = "…" if len(found) > _MOST_SHOWN else ""
    return Row(number, {}, (Finding("not_json", f"{_NO_OBJECT}, found {shown}{cut}."),))


def _strict_value(text: JsonText, name: str) -> object:
    try:
        return text.take_value("what stands outside of the rows")[0]
    except NotStrictError as error:
        raise SourceError(f"{name}: not valid JSON ({error}).") from None


def _no_array(name: str, found: str, hint: str = ADVICE) -> SourceError:
    return NoRowsError(f"{name}: expected a JSON array of objects, found {masked(found, 0, 120)}.", hint=hint)
