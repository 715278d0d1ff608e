"""The bytes of a file of text, a piece at a time, with whatever goes wrong explained."""

import codecs
import re
from types import TracebackType
from typing import Self

import numpy as np

from retune.data.sources.files.file_formats import refuse_other_formats
from retune.data.sources.files.locations import Location
from retune.data.text.encoding import refuse_other_encodings, refuse_utf16
from retune.errors import SourceError

_HEAD_BYTES, _ENCODING_BYTES = 512, 1 << 14
_READ_BYTES = 1 << 20
_MOST_READ_BYTES = 16 << 20  # room for all is made before any is read
_LOOKED_AT, _MANY_EVERY = 1 << 12, 16
_LEAST_BLANK_BYTES = 16
_MANY_BLANK_LINES = (b"\n" * _LEAST_BLANK_BYTES, b"\r\n" * (_LEAST_BLANK_BYTES // 2))
_LINE_END = re.compile(rb"[\r\n]")


def count_line_feeds(content: bytes) -> int:
    """How many LF there are; fast, too, where there are many of them."""
    if content.count(b"\n", 0, _LOOKED_AT) * _MANY_EVERY < _LOOKED_AT:
        return content.count(b"\n")
    return int(np.count_nonzero(np.frombuffer(content, np.uint8) == ord("\n")))


class ByteStream:
    """Reads a file from its start; a context manager.

    Args:
        location: The file.
        expected: What it should be, for the error where it is something else: "CSV".

    Attributes:
        taken: How many bytes were taken, unpacked, a byte order mark among them.
        has_byte_order_mark: The file starts with one; it is taken already.

    Raises:
        SourceError: The file can't be read, is empty, or is of another format by its first bytes.
    """

    def __init__(self, location: Location, expected: str) -> None:
        self._location = location
        self._stored_bytes_read = 0
        self._stream = location.open(self._count)
        self._rest = b""
        self._start = 0
        self._is_at_end = False
        self.taken = 0
        try:
            self._check_head(self.peek(_HEAD_BYTES), expected)
        except BaseException:
            self._stream.close()
            raise

    def _check_head(self, head: bytes, expected: str) -> None:
        name = self._location.name
        if not head:
            raise SourceError(f"{name} is empty.")
        refuse_other_formats(head, name, expected)
        refuse_utf16(head, name)
        refuse_other_encodings(self.peek(_ENCODING_BYTES)[:_ENCODING_BYTES], name)
        self.has_byte_order_mark = head.startswith(codecs.BOM_UTF8)
        if self.has_byte_order_mark:
            self.take(len(codecs.BOM_UTF8))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def peek(self, size: int) -> bytes:
        """Look at what comes next and leave it there.

        Returns:
            `size` bytes, or more that were read before; fewer only where the file ends.

        Raises:
            SourceError: The file can't be read on.
        """
        pieces = [self._rest[self._start :]]
        self._rest, self._start = pieces[0], 0
        missing = size - len(pieces[0])
        if missing <= 0 or self._is_at_end:
            return self._rest
        while missing > 0 and not self._is_at_end:
            piece = self._stream.read(min(missing, _MOST_READ_BYTES))
            self._is_at_end = not piece
            pieces.append(piece)
            missing -= len(piece)
        self._rest = b"".join(pieces)
        return self._rest

    def peek_block(self, size: int) -> tuple[bytes, bool]:
        """Look at `size` bytes, or at all that are left.

        Returns:
            The bytes, and whether the file is known to end with them.

        Raises:
            SourceError: The file can't be read on.
        """
        content = self.peek(size)
        return content[:size], self._is_at_end and len(content) <= size

    @property
    def stored_bytes_taken(self) -> int:
        """How many bytes of the file as it is stored were taken; about so many, where it is packed."""
        if self._location.packing is None:
            return self.taken
        is_done = self._is_at_end and self._start == len(self._rest)
        return (self._location.size or self._stored_bytes_read) if is_done else self._stored_bytes_read

    def _count(self, n_bytes: int) -> None:
        self._stored_bytes_read += n_bytes

    def take(self, size: int) -> bytes:
        """Take so many of the bytes that were peeked at."""
        content = self._rest[self._start : self._start + size]
        self.skip(size)
        return content

    def skip(self, size: int) -> None:
        """Pass over so many of the bytes that were peeked at."""
        self._start += size
        self.taken += size

    def has_text(self) -> bool:
        """Whether anything but white space follows; what white space there is, is passed over.

        Raises:
            SourceError: The file can't be read on.
        """
        while content := self.peek(_READ_BYTES):
            if content.strip():
                return True
            self.skip(len(content))
        return False

    def skip_blank_lines(self) -> tuple[int, int, int]:
        """Pass over blank lines at once, if many follow.

        Returns:
            How many there were, how many of them end in LF or CRLF, and how many in CRLF.

        Raises:
            SourceError: The file can't be read on.
        """
        n_lines = n_lf = n_crlf = 0
        if len(self._rest) - self._start < _LEAST_BLANK_BYTES:
            self.peek(_READ_BYTES)
        while self._rest.startswith(_MANY_BLANK_LINES, self._start):
            rest = self._rest[self._start :]
            # What ends here may have its LF in the next piece.
            content = rest[: len(rest) - len(rest.lstrip(b"\r\n"))].removesuffix(b"\r")
            lf = count_line_feeds(content)
            crlf = content.count(b"\r\n") if lf < len(content) else 0
            n_lines += len(content) - crlf
            n_lf, n_crlf = n_lf + lf, n_crlf + crlf
            self.skip(len(content))
            self.peek(_READ_BYTES)
        return n_lines, n_lf, n_crlf

    def take_line(self, most: int) -> bytes:
        """Take a line with its end, which is LF, CRLF or CR; empty at the end of the file.

        Args:
            most: Of a line longer than so many bytes only its start is taken.

        Raises:
            SourceError: The file can't be read on.
        """
        looked_at = 0
        while True:
            found = _LINE_END.search(self._rest, self._start + looked_at)
            # A CR that is the last byte here may have its LF in the next piece.
            if found and (found.group() == b"\n" or found.end() < len(self._rest)):
                end = found.end()
                return self.take(end - self._start + (found.group() == b"\r" and self._rest[end] == ord("\n")))
            here = len(self._rest) - self._start
            if self._is_at_end or here > most:
                return self.take(min(here, most))
            looked_at = max(0, here - 1)
            self.peek(2 * here + _READ_BYTES)

    def take_lines_without(self, mark: bytes, most: int) -> bytes:
        """Take the lines before the next one with `mark` at once, or that one alone; as `take_line` else."""
        place = self._rest.find(mark, self._start)
        end = self._rest.rfind(b"\n", self._start, len(self._rest) if place < 0 else place) + 1
        return self.take(end - self._start) if end > self._start else self.take_line(most)
