"""The lines of JSONL files that clients sent: one at a time, and never more of one than a line may have."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from retune.training_lines.keys import MAX_LINE_BYTES

TOO_LONG: Final = f"it is longer than {MAX_LINE_BYTES} bytes"

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BUFFER_BYTES = 1 << 16
_BLANK_LINES = re.compile(rb"(?:[ \t\r\v\f]*\n)+")


class ReadingStoppedError(Exception):
    """The reader was told to stop before the file's end."""


def input_lines(path: Path, should_stop: Callable[[], bool] = lambda: False) -> Iterator[tuple[int, bytes]]:
    """Read the lines that are not blank, with their numbers from 1. A line ends with a line feed.

    Of a line longer than `MAX_LINE_BYTES` it gives one byte more than that, and passes over the rest.

    Args:
        path: The file.
        should_stop: Asked at every line.

    Raises:
        ReadingStoppedError: `should_stop` said so.
        OSError: The file can't be read.
    """
    with path.open("rb", buffering=_BUFFER_BYTES) as stream:
        number = 0
        while line := stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            if should_stop():
                raise ReadingStoppedError
            text = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
            if text.strip():
                yield number, text
            elif blank := _BLANK_LINES.match(stream.peek()):
                # Hundreds of millions of blank lines are a file of the size that is taken.
                number += stream.read(blank.end()).count(b"\n")
            while not line.endswith(b"\n") and (line := stream.readline(MAX_LINE_BYTES)):
                if should_stop():
                    raise ReadingStoppedError


def is_too_long(line: bytes) -> bool:
    """Tell whether there was more of a line than may be."""
    return len(line) > MAX_LINE_BYTES
