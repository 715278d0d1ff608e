"""Training files: one JSON object a line, in UTF-8."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Never

from pydantic import BaseModel, ConfigDict

from retune.data.encoding import decode_utf8
from retune.errors import DataError, RunDirectoryError, SourceError
from retune.files import atomic_write


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


def write_jsonl(path: Path, bodies: Iterable[Mapping[str, Any]]) -> FileFacts:
    """Write one JSON object a line: UTF-8, keys in the order given, lines ended by LF.

    The same bodies give the same bytes. The file appears under its name once it is whole; until then, and if
    anything fails, whatever was there before stays.

    Raises:
        DataError: A body holds what JSON can't.
        RunDirectoryError: The file can't be written, for example because the disk is full.
    """
    digest = hashlib.sha256()
    size = count = 0
    try:
        with atomic_write(path) as stream:
            for count, body in enumerate(bodies, start=1):
                line = _encode_line(body, count)
                digest.update(line)
                size += stream.write(line)
    except OSError as error:
        raise RunDirectoryError(
            f"Can't write {path}: {error.strerror}.", hint="Make room or choose another output directory."
        ) from error
    return FileFacts(path=path, sha256=digest.hexdigest(), bytes=size, examples=count)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Read the objects of a JSONL file one by one; blank lines are passed over.

    Raises:
        SourceError: The file can't be read, or a line isn't a JSON object in UTF-8; it says which line and column.
    """
    return (body for _, body in read_numbered_jsonl(path))


def read_numbered_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same, each object with the number of its line, counted from 1.

    Raises:
        SourceError: As in `read_jsonl`.
    """
    try:
        with path.open("rb") as stream:
            # A binary file splits at LF alone: JSON strings may hold U+2028 and other line ends of str.splitlines.
            for number, line in enumerate(stream, start=1):
                text = decode_utf8(line, path, first_line=number).rstrip()
                if text:
                    yield number, _parse_line(text, f"{path}, line {number}")
    except OSError as error:
        raise SourceError(f"Can't read {path}: {error.strerror}.") from error


def parse_json(text: str) -> Any:
    """Parse strict JSON: `NaN` and `Infinity`, which Python would take, are errors.

    Raises:
        ValueError: Not JSON; a `json.JSONDecodeError` where the place is known.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _encode_line(body: Mapping[str, Any], number: int) -> bytes:
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"Example {number} can't be written as JSON: {error}.") from error
    # UTF-8 has no lone surrogates. backslashreplace writes each as \udXXX, which is its escape in JSON, too.
    return text.encode(errors="backslashreplace") + b"\n"


def _parse_line(text: str, where: str) -> dict[str, Any]:
    try:
        value = parse_json(text)
    except json.JSONDecodeError as error:
        if text.lstrip().startswith("["):
            _refuse_array(where)
        raise SourceError(
            f"{where}, column {error.colno}: not valid JSON ({error.msg}).",
            hint="Every line must be one whole JSON object.",
        ) from None
    except ValueError as error:
        raise SourceError(f"{where}: not valid JSON ({error}).") from None
    if isinstance(value, list):
        _refuse_array(where)
    if not isinstance(value, dict):
        raise SourceError(f"{where}: expected a JSON object, found {text.lstrip()[:60]}.")
    return value


def _refuse_array(where: str) -> Never:
    raise SourceError(
        f"{where}: expected a JSON object, found the start of a JSON array.",
        hint="JSONL is one object a line, with no brackets or commas around them: jq -c '.[]' data.json > data.jsonl",
    )


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
