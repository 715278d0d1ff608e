"""The messages of an Arrow stream, each looked at before Arrow reads it: what it says of its sizes may be a lie.

Messages: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
The tables in their heads: https://flatbuffers.dev/internals/
"""

import io
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from retune.data.sources.files.locations import Location
from retune.data.sources.readers.batches import MOST_ROWS_AT_ONCE
from retune.errors import SourceError

FILE_MARK = b"ARROW1\0\0"
"""What a file in the file format starts with; a stream follows."""

_CONTINUES = b"\xff\xff\xff\xff"
_MOST_HEAD_BYTES = 16 << 20
_PIECE_BYTES = 1 << 20
_DICTIONARY, _BATCH = 2, 3
# Places of fields in the tables Message, DictionaryBatch and RecordBatch of Arrow's schema of flatbuffers.
_KIND, _HEADER, _BODY_LENGTH = 1, 2, 3
_DATA, _BUFFERS, _COMPRESSION = 1, 2, 3


class CheckedMessages(io.RawIOBase):
    """A stream of messages, none of which takes more than the bounds allow once it is unpacked.

    Args:
        stream: Where the first message starts.
        location: The file.

    Attributes:
        bytes_read: How many of the stream's bytes were read.
    """

    def __init__(self, stream: BinaryIO, location: Location) -> None:
        self._stream = stream
        self._location = location
        self._bounds = location.bounds
        self._most = MOST_ROWS_AT_ONCE * self._bounds.row_bytes
        self._dictionary_bytes = self._unpacked_bytes = 0
        self._rest = memoryview(b"")
        self._messages = self._read_messages()
        self.bytes_read = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes, of one message at most."""
        if not self._rest:
            self._rest = memoryview(next(self._messages, b""))
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)

    def _read_messages(self) -> Iterator[bytes]:
        while mark := self._take(4, ends_here=True):
            # Before Arrow 0.15 the length came first.
            length = self._take(4) if mark == _CONTINUES else b""
            (n_bytes,) = struct.unpack("<i", length or mark)
            if n_bytes == 0:
                yield mark + length
                return
            if not 0 < n_bytes <= _MOST_HEAD_BYTES:
                raise self._damaged(f"the head of a message has {n_bytes:,} bytes")
            head = self._take(n_bytes)
            yield mark + length
            yield head
            try:
                body = self._read_body(_Table.root(head))
            except (struct.error, IndexError) as error:
                raise self._damaged(f"the head of a message is cut off: {error}") from None
            if body:
                yield body

    def _read_body(self, message: "_Table") -> bytes:
        kind, length = message.number(_KIND, "<B"), message.number(_BODY_LENGTH, "<q")
        if length < 0:
            raise self._damaged(f"a message has {length:,} bytes")
        if length > self._most:
            raise self._too_large()
        body = self._take(length)
        if kind in (_DICTIONARY, _BATCH):
            batch = message.table(_HEADER)
            batch = batch.table(_DATA) if kind == _DICTIONARY and batch is not None else batch
            unpacked = len(body) if batch is None else _unpacked_bytes(batch, body)
            self._count(unpacked, is_dictionary=kind == _DICTIONARY)
        return body

    def _count(self, unpacked: int, *, is_dictionary: bool) -> None:
        self._dictionary_bytes += unpacked if is_dictionary else 0
        self._unpacked_bytes += unpacked
        if max(unpacked, self._dictionary_bytes) > self._most:
            raise self._too_large()
        self._bounds.count(self._location.name, self._unpacked_bytes, self._location.size)

    def _take(self, size: int, *, ends_here: bool = False) -> bytes:
        pieces, missing = [], size
        while missing and (piece := self._stream.read(min(missing, _PIECE_BYTES))):
            pieces.append(piece)
            missing -= len(piece)
        self.bytes_read += size - missing
        if missing and not (ends_here and missing == size):
            raise self._damaged("it ends in a message")
        return b"".join(pieces)

    def _too_large(self) -> SourceError:
        error = self._bounds.row_too_large(f"{self._location.name}: what can only be unpacked at once")
        most = self._most // 1_000_000
        return SourceError(
            f"{self._location.name} has a batch of more than {most} MB, and a batch can only be read at once.",
            hint=f"Write smaller batches, or Parquet. {error.hint}",
        )

    def _damaged(self, reason: str) -> SourceError:
        return SourceError(
            f"{self._location.name} is cut off or damaged: {reason}.",
            hint="Copy or download it again, and compare the sizes.",
        )


class _Table:
    """A table of flatbuffers."""

    def __init__(self, content: bytes, place: int) -> None:
        self._content = content
        self._place = place
        self._fields = place - self._unpack("<i", place)

    @classmethod
    def root(cls, content: bytes) -> "_Table":
        return cls(content, struct.unpack_from("<I", content)[0])

    def _unpack(self, kind: str, place: int) -> Any:
        if place < 0:
            raise IndexError("a place before its start")
        return struct.unpack_from(kind, self._content, place)[0]

    def place(self, field: int) -> int | None:
        """Where a field is; None where it has its default."""
        entry = 4 + 2 * field
        if entry >= self._unpack("<H", self._fields):
            return None
        offset = self._unpack("<H", self._fields + entry)
        return self._place + offset if offset else None

    def number(self, field: int, kind: str) -> int:
        place = self.place(field)
        return 0 if place is None else int(self._unpack(kind, place))

    def table(self, field: int) -> "_Table | None":
        place = self.place(field)
        return None if place is None else _Table(self._content, place + self._unpack("<I", place))

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """A vector of structs of two 64-bit numbers."""
        place = self.place(field)
        if place is not None:
            start = place + self._unpack("<I", place)
            for at in range(start + 4, start + 4 + 16 * self._unpack("<I", start), 16):
                yield self._unpack("<q", at), self._unpack("<q", at + 8)


def _unpacked_bytes(batch: _Table, body: bytes) -> int:
    """What the buffers of a batch take once they are unpacked: each packed one starts with that."""
    if batch.place(_COMPRESSION) is None:
        return len(body)
    total = 0
    for offset, length in batch.pairs(_BUFFERS):
        if length >= 8 and offset >= 0:
            (unpacked,) = struct.unpack_from("<q", body, offset)
            total += length if unpacked < 0 else unpacked
    return total
