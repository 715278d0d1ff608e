"""Reads a multipart form while it arrives: its fields into memory, its one file onto the disk."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from retune.server.errors import ApiError, missing_parameter, too_large, unknown_parameter

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_FIELD_BYTES = 4096
_MAX_PARTS = 16
# Boundaries, headers and fields: what a body may contain in addition to its file.
FORM_BYTES: Final = 64 * 1024 + _MAX_PARTS * _MAX_FIELD_BYTES
_PIECE_BYTES = 4 * 1024 * 1024


class Sink(Protocol):
    """Receives a file's bytes, in threads."""

    def write(self, data: memoryview, /) -> int:
        """Write a piece, which is valid only until this returns."""
        ...


@dataclass(slots=True)
class SentForm:
    """The form's fields, and the name (may be empty), size and hash of the file that was written to the sink."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    size: int = 0
    sha256: str = ""


def announced_size(request: Request) -> int:
    """The smallest size of a request's file by its Content-Length; 0 if that is missing."""
    length = request.headers.get("content-length", "")
    return max(0, int(length) - FORM_BYTES) if length.isdecimal() else 0


async def read_form(request: Request, sink: Sink, *, file_field: str, max_file_bytes: int) -> SentForm:
    """Read a multipart request, writing its file to `sink` piece by piece.

    Args:
        request: Its body is not read yet.
        sink: Takes the file's bytes; nothing is written to it after this returns or raises.
        file_field: Name of the form's part that is the file.
        max_file_bytes: Largest file.

    Raises:
        ApiError: 400: the body is not a multipart form, or is incomplete; 413: the file is too large.
        OSError: The disk is full.
    """
    content_type, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if content_type != b"multipart/form-data" or not boundary:
        raise ApiError(400, "A file is uploaded as multipart/form-data with a boundary.")
    reader = _Reader(sink, file_field, max_file_bytes)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        await _pass_on(request, parser.write)
        parser.finalize()
    except FormParserError as error:
        raise ApiError(400, f"The multipart body can't be read: {error}.") from error
    return reader.result()


async def _pass_on(request: Request, write: Callable[[bytes], object]) -> None:
    writer = _ThreadedWriter(write)
    try:
        async for chunk in request.stream():
            await writer.add(chunk)
        await writer.finish()
    finally:
        await writer.stop()


class _ThreadedWriter:
    """Parses, hashes and writes one piece of a body in a thread while the next one arrives."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._chunks: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Task[None] | None = None

    async def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size >= _PIECE_BYTES:
            await self._hand_over()

    async def finish(self) -> None:
        await self._hand_over()
        await self._written()

    async def stop(self) -> None:
        # The file's owner may close it only when no thread writes to it.
        if self._writing:
            await asyncio.wait([self._writing])
            self._writing.exception()  # it has been raised, or something else was first; asyncio would log it

    async def _hand_over(self) -> None:
        await self._written()
        self._writing = asyncio.create_task(asyncio.to_thread(self._write_all, self._chunks))
        self._chunks, self._size = [], 0

    async def _written(self) -> None:
        if self._writing:
            # Cancelling a task that waits for a thread would not stop the thread.
            await asyncio.shield(self._writing)

    def _write_all(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._write(chunk)


class _Reader:
    """Follows the parser through the parts of a form."""

    def __init__(self, sink: Sink, file_field: str, max_file_bytes: int) -> None:
        self._sink = sink
        self._file_field = file_field
        self._max_file_bytes = max_file_bytes
        self._form = SentForm()
        self._digest = hashlib.sha256()
        self._header_name = b""
        self._header_value = b""
        self._disposition = ""
        self._name = ""
        self._value = b""
        self._parts = 0
        self._complete = False

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_header_name,
            "on_header_value": self._add_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def result(self) -> SentForm:
        if not self._complete:
            raise ApiError(400, "The multipart body ends before its last boundary.")
        if self._form.filename is None:
            raise missing_parameter(self._file_field)
        self._form.sha256 = self._digest.hexdigest()
        return self._form

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise ApiError(400, f"The form has too many parts: expected at most {_MAX_PARTS}.")
        self._disposition, self._name, self._value = "", "", b""

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value.decode("latin-1")
        self._header_name, self._header_value = b"", b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name != self._file_field:
            return
        if self._form.filename is not None:
            raise ApiError(400, f"The form has one part '{self._name}'; found a second.", param=self._name)
        self._form.filename = options.get(b"filename", b"").decode("utf-8", "replace")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == self._file_field:
            self._add_to_file(memoryview(data)[start:end])
        elif len(self._value) + end - start > _MAX_FIELD_BYTES:
            raise ApiError(400, f"The field '{self._name}' is longer than {_MAX_FIELD_BYTES} bytes.", param=self._name)
        else:
            self._value += data[start:end]

    def _add_to_file(self, piece: memoryview) -> None:
        self._form.size += len(piece)
        if self._form.size > self._max_file_bytes:
            raise too_large(self._file_field, self._max_file_bytes, param=self._file_field)
        self._digest.update(piece)
        self._sink.write(piece)

    def _end_part(self) -> None:
        if self._name == self._file_field:
            return
        if not self._name or self._name in self._form.fields:
            raise unknown_parameter(self._name)
        self._form.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._complete = True
