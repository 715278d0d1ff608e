"""Streams of bytes whose errors say which file they are about, and the unpacking of gzip, bzip2 and zstd."""

import bz2
import io
from collections.abc import Callable
from typing import Any, BinaryIO, Literal

from retune.errors import SourceError

Packing = Literal["gzip", "bz2", "zstd"]

HEAD_BYTES = 16
"""So many of a file's first bytes tell how it is packed."""

PACKED_SUFFIXES: dict[str, Packing] = {".gz": "gzip", ".gzip": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zstd": "zstd"}

_BUFFER_BYTES = 1 << 20
_MOST_READ_BYTES = 16 << 20
GZIP = b"\x1f\x8b\x08"  # RFC 1952, 2.3.1: deflate is the one method there is
BZ2 = b"BZh"
ZSTD = b"\x28\xb5\x2f\xfd"  # RFC 8878, 3.1.1
_BZ2_BLOCK = b"1AY&SY"  # pi, in every file that is not empty
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # RFC 8878, 3.1.2: after a byte 0x50 to 0x5f; parallel packers start with it


def packing_of(head: bytes) -> Packing | None:
    """Tell by its first bytes how a file is packed."""
    if head.startswith(GZIP):
        return "gzip"
    if head.startswith(BZ2) and head[4:10] == _BZ2_BLOCK:
        return "bz2"
    is_skippable = head[1:4] == _ZSTD_SKIPPABLE and head[0] & 0xF0 == 0x50
    return "zstd" if head.startswith(ZSTD) or is_skippable else None


def is_cut_in_its_mark(head: bytes, named: Packing) -> bool:
    """Whether a file that is named as packed ends before the bytes that would tell."""
    mark = {"gzip": GZIP, "bz2": BZ2 + head[3:4] + _BZ2_BLOCK, "zstd": ZSTD}[named]
    return len(head) < len(mark) and mark.startswith(head)


def damaged(name: str, packing: Packing, reason: str) -> SourceError:
    """The error for a packed file that can't be unpacked to its end."""
    return SourceError(
        f"{name} is cut off or damaged: it can't be unpacked as {packing} ({reason}).",
        hint="Copy or download it again, and compare the sizes.",
    )


def open_stream(
    open_raw: Callable[[], Any],
    explain: Callable[[Exception], SourceError],
    name: str,
    packing: Packing | None,
    *,
    on_read: Callable[[int], None] | None = None,
    on_unpacked: Callable[[int], None] | None = None,
) -> BinaryIO:
    """Open a file and unpack it, with a buffer, every failure a `SourceError`.

    A packed file that ends too early, or that doesn't unpack to what its checksum says, is an error when that place is
    reached: never just a shorter file.

    Args:
        open_raw: Opens the file as it is stored.
        explain: Makes the error of what went wrong in opening or reading it.
        name: What people call it.
        packing: How it is packed.
        on_read: Called with the number of bytes whenever some of the file, as it is stored, were read.
        on_unpacked: Called with the number of bytes whenever some came out; it may raise, to stop the reading.

    Raises:
        SourceError: It can't be opened.
    """
    try:
        raw = _ExplainedStream(open_raw(), explain, on_read, None if packing else on_unpacked)
    except Exception as error:  # noqa: BLE001  (each file system has its own kinds)
        raise explain(error) from None
    if packing is None:
        return io.BufferedReader(raw, _BUFFER_BYTES)
    return io.BufferedReader(
        _ExplainedStream(
            _unpacking(raw, packing), lambda error: damaged(name, packing, str(error).rstrip(".")), on_unpacked
        ),
        _BUFFER_BYTES,
    )


def _unpacking(raw: io.RawIOBase, packing: Packing) -> Any:
    if packing == "bz2":
        # Arrow takes one that is cut off for a shorter one, and reads the first member alone.
        return bz2.BZ2File(raw)
    import pyarrow as pa  # noqa: PLC0415  (slow to import; only packed files need it)

    # Arrow takes a stream that ends inside a member for an error, continues with the next member, and compares the
    # result with the checksums, where there are some.
    return pa.CompressedInputStream(pa.PythonFile(raw, "r"), packing)


class _ExplainedStream(io.RawIOBase):
    """Reads another stream; what goes wrong there becomes a `SourceError`."""

    def __init__(
        self, inner: Any, explain: Callable[[Exception], SourceError], *on_read: Callable[[int], None] | None
    ) -> None:
        self._inner = inner
        self._explain = explain
        self._on_read = [call for call in on_read if call is not None]
        # A packed file could only go back by unpacking all of it again.
        self._is_seekable = not isinstance(inner, bz2.BZ2File) and _can_seek(inner)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            # Beside the buffer there is room for what is read.
            content = self._inner.read(min(len(buffer), _MOST_READ_BYTES))
        except SourceError:
            raise
        except Exception as error:  # noqa: BLE001  (each file system has its own kinds)
            raise self._explain(error) from None
        buffer[: len(content)] = content
        for call in self._on_read:
            call(len(content))
        return len(content)

    def seekable(self) -> bool:
        return self._is_seekable

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if not self._is_seekable:
            raise io.UnsupportedOperation("seek")
        self._inner.seek(offset, whence)
        return int(self._inner.tell())

    def tell(self) -> int:
        return int(self._inner.tell())

    def close(self) -> None:
        if not self.closed:
            try:
                self._inner.close()
            finally:
                super().close()


def _can_seek(stream: Any) -> bool:
    """Whether it really seeks: fsspec's stream of a server that sends no ranges says that it can."""
    try:
        if not stream.seekable():
            return False
        stream.seek(1)
        stream.seek(0)
    except (OSError, ValueError):
        return False
    return True
