"""Training files: one JSON object a line, in UTF-8."""

import codecs
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Never

import orjson
from pydantic import BaseModel, ConfigDict

from retune.data.problems.problems import Finding
from retune.data.problems.rules import RULES
from retune.data.text.encoding import describe_bad_utf8, refuse_utf16
from retune.errors import DataError, SourceError
from retune.files import atomic_write, writing
from retune.redaction.masking import masked
from retune.training_lines.keys import JsonMapping, JsonObject

_JSON_SPACE = b" \t\r\n"  # RFC 8259, 2
_MOST_CHARACTERS_SHOWN = 40

MOST_JSON_VALUES = 1_000_000
"""Of one row; an example has a few hundred."""


class TooManyValuesError(ValueError):
    """JSON has so many values that they are not made."""


class FileFacts(BaseModel):
    """A file that was written.

    Attributes:
        path: Where it is.
        sha256: Hex SHA-256 of its bytes.
        bytes: Its size.
        examples: Its number of lines.
    """

    model_config = ConfigDict(frozen=True)

    path: Path
    sha256: str
    bytes: int
    examples: int


def write_jsonl(path: Path, bodies: Iterable[JsonMapping]) -> FileFacts:
    """Write one JSON object a line: UTF-8, keys in the order given, lines ended by LF.

    The same bodies give the same bytes. The file appears under its name once it is whole; until then, and if
    anything fails, whatever was there before stays.

    Raises:
        DataError: A body holds what JSON can't.
        RunDirectoryError: The file can't be written, for example because the disk is full.
    """
    digest = hashlib.sha256()
    size = count = 0
    with writing(path), atomic_write(path) as stream:
        for body in bodies:
            line = encode_line(body)
            digest.update(line)
            size += stream.write(line)
            count += 1
    return FileFacts(path=path, sha256=digest.hexdigest(), bytes=size, examples=count)


def read_jsonl(path: Path) -> Iterator[JsonObject]:
    """Read the objects of a JSONL file one by one; blank lines are passed over.

    Raises:
        SourceError: The file can't be read, or a line isn't a JSON object in UTF-8; it says which line and column.
    """
    try:
        with path.open("rb") as stream:
            # A binary file splits at LF alone: JSON strings may hold U+2028 and other line ends of str.splitlines.
            for number, content in enumerate(stream, start=1):
                if number == 1:
                    refuse_utf16(content, str(path))
                line = content.removeprefix(codecs.BOM_UTF8) if number == 1 else content
                if line.strip():
                    yield _parse_or_raise(line, f"{path}, line {number}")
    except OSError as error:
        raise SourceError(f"Can't read {path}: {error.strerror}.") from error


def parse_line(line: bytes) -> JsonObject | Finding:
    """Parse one line of JSONL; where it is not a JSON object in UTF-8, say why."""
    try:
        text = line.rstrip(_JSON_SPACE).decode()
        value = parse_json(text)
    except UnicodeDecodeError as error:
        return Finding("not_utf8", f"{describe_bad_utf8(error)} (column {_column(error)}).")
    except json.JSONDecodeError as error:
        return Finding("not_json", f"not valid JSON at column {error.colno} ({error.msg}; found {_found_at(error)}).")
    except TooManyValuesError as error:
        return Finding("not_json", f"{error}.")
    except ValueError as error:
        return Finding("not_json", f"not valid JSON ({error}).")
    if isinstance(value, dict):
        return value
    found = "a JSON array" if isinstance(value, list) else _excerpt(text.strip(), 0)
    return Finding("not_json", f"expected a JSON object, found {found}.")


def parse_quickly(line: bytes) -> object:
    """Parse one line in less than half the time; None where only `parse_line` can say what it is.

    Texts, and which keys there are, come out the same. Integers of more than 64 bits come out as floats.
    """
    if len(line) > MOST_JSON_VALUES:
        return None
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def parse_json(text: str) -> Any:
    """Parse strict JSON: `NaN` and `Infinity`, which Python would take, are errors.

    Raises:
        ValueError: Not JSON, or far more values than an example has; a `json.JSONDecodeError` where the place is known.
    """
    refuse_too_many_values(text)
    try:
        return STRICT_DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def refuse_too_many_values(text: str, begin: int = 0) -> None:
    """Look at JSON before it is parsed: two letters may be a list, which takes 64 bytes.

    Args:
        text: It goes to the end of this.
        begin: Where it begins.

    Raises:
        TooManyValuesError: There are so many commas that its values would take a hundred megabytes and more.
    """
    if len(text) - begin > MOST_JSON_VALUES and text.count(",", begin) > MOST_JSON_VALUES:
        raise TooManyValuesError(f"it has more than {MOST_JSON_VALUES:,} values, and no example has")


def encode_line(body: JsonMapping) -> bytes:
    """Write one object as a line of JSONL.

    Raises:
        DataError: It holds what JSON can't.
    """
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"can't be written as JSON: {error}.") from error
    # UTF-8 has no lone surrogates. backslashreplace writes each as \udXXX, which is its escape in JSON, too.
    return text.encode(errors="backslashreplace") + b"\n"


def _parse_or_raise(line: bytes, where: str) -> JsonObject:
    value = parse_line(line)
    if isinstance(value, Finding):
        raise SourceError(f"{where}: {value.message}", hint=RULES[value.kind].hint)
    return value


def _column(error: UnicodeDecodeError) -> int:
    return len(error.object[: error.start].decode()) + 1


def _found_at(error: json.JSONDecodeError) -> str:
    return _excerpt(error.doc, error.pos) if error.doc[error.pos :].strip() else "the end of the line"


def _excerpt(text: str, begin: int) -> str:
    """A piece of somebody's text without the secrets in it, and with what is not printable escaped."""
    return repr(masked(text, begin, begin + _MOST_CHARACTERS_SHOWN))


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


STRICT_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
"""Refuses `NaN` and `Infinity` with a ValueError that knows no place."""
