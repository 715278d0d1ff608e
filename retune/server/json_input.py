"""JSON that clients send, as bodies and as lines of files: read within bounds.

Python's parser holds the interpreter's lock until it is done: a few megabytes of empty lists would block every other
request of the process for seconds. Parsing time grows with the number of values, not of bytes, so values are counted
first, piece by piece, with the lock free in between. A file is read one line at a time, and never more of one line than
a line may have.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from retune.training_lines.keys import MAX_LINE_BYTES, MAX_LINE_VALUES

# A conversation of 2,048 messages with parts and a large schema has some tens of thousands. This many take 20 ms.
MAX_VALUES: Final = MAX_LINE_VALUES
TOO_MANY: Final = f"it is made of more than {MAX_VALUES} values"
_PIECE_BYTES = 64 * 1024
_OPENING_OR_NEXT = (b",", b"[", b"{")
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
TOO_LONG: Final = f"it is longer than {MAX_LINE_BYTES} bytes"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK_LINES = re.compile(rb"(?:[ \t\r\v\f]*\n)+")


class TooManyValuesError(ValueError):
    """A text is made of more JSON values than may be."""

    def __init__(self) -> None:
        super().__init__(TOO_MANY)


def parse_json(text: bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Parse UTF-8 JSON, with or without a byte order mark.

    Raises:
        TooManyValuesError: It is made of more than `MAX_VALUES` values.
        ValueError: It is not JSON, or not UTF-8.
        RecursionError: It is nested too deeply.
    """
    if has_more_values(text, MAX_VALUES):
        raise TooManyValuesError
    return json.loads(text.decode("utf-8-sig"), parse_constant=parse_constant)


def has_more_values(text: bytes, limit: int, *, piece_bytes: int = _PIECE_BYTES) -> bool:
    """Whether a text is made of more than `limit` JSON values, counted `piece_bytes` at a time."""

    def pieces() -> Iterator[bytes]:
        return (text[start : start + piece_bytes] for start in range(0, len(text), piece_bytes))

    # The first, cheap count includes separators within strings.
    if len(text) <= limit or not _exceeds(map(_count, pieces()), limit):
        return False
    return _exceeds(_counts_outside_strings(pieces()), limit)


def _count(piece: bytes) -> int:
    return sum(map(piece.count, _OPENING_OR_NEXT))


def _exceeds(counts: Iterable[int], limit: int) -> bool:
    return any(n_values > limit for n_values in accumulate(counts))


def _counts_outside_strings(pieces: Iterable[bytes]) -> Iterator[int]:
    is_in_string, rest = False, b""
    for piece in pieces:
        plain = _ESCAPE.sub(b"", rest + piece)
        # A backslash that is left is the last byte: what it escapes is in the next piece.
        rest = b"\\" if plain.endswith(b"\\") else b""
        parts = plain.removesuffix(b"\\").split(b'"')
        yield _count(b"".join(parts[is_in_string::2]))
        is_in_string ^= len(parts) % 2 == 0


class ReadingStoppedError(Exception):
    """`should_stop` ended the reading before the end of the file."""


def input_lines(path: Path, should_stop: Callable[[], bool] = lambda: False) -> Iterator[tuple[int, bytes]]:
    """Read the lines that are not blank, with their numbers from 1. A line ends with a line feed.

    Of a line longer than `MAX_LINE_BYTES` it yields one byte more than that, and skips the rest.

    Args:
        path: The file.
        should_stop: Called at every line.

    Raises:
        ReadingStoppedError: `should_stop` returned true.
        OSError: The file can't be read.
    """
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            if should_stop():
                raise ReadingStoppedError
            text = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
            if text.strip():
                yield number, text
            elif line.endswith(b"\n") and (blank := _BLANK_LINES.match(stream.peek())):
                # Half a gigabyte of blank lines would take minutes one by one.
                number += stream.read(blank.end()).count(b"\n")
            while not line.endswith(b"\n") and (line := stream.readline(MAX_LINE_BYTES)):
                if should_stop():
                    raise ReadingStoppedError


def is_too_long(line: bytes) -> bool:
    """Whether a line was longer than `MAX_LINE_BYTES`."""
    return len(line) > MAX_LINE_BYTES
