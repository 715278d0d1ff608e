"""Reading a multipart upload as it arrives: its fields into memory, its one file onto the disk."""

import hashlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from retune.server.api.errors import ApiError, unrecognized_argument

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_FIELD_BYTES = 4096
_MAX_PARTS = 16
_FILE_FIELD = "file"


@dataclass(slots=True)
class Upload:
    """What came: the form's fields, and name, size and hash of the file that was written to the sink."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    size: int = 0
    sha256: str = ""


async def read_upload(request: Request, sink: IO[bytes], *, max_file_bytes: int) -> Upload:
    """Read a multipart request, writing its `file` part to `sink` piece by piece.

    Raises:
        ApiError: 400: the body is no multipart form, or is not whole; 413: the file is too large.
        OSError: The disk is full.
    """
    content_type, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if content_type != b"multipart/form-data" or not boundary:
        raise ApiError(400, "A file is uploaded as multipart/form-data with a boundary.")
    reader = _Reader(sink, max_file_bytes)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise ApiError(400, f"The multipart body can't be read: {error}.") from error
    return reader.result()


class _Reader:
    """Follows the parser through the parts of a form."""

    def __init__(self, sink: IO[bytes], max_file_bytes: int) -> None:
        self._sink = sink
        self._max_file_bytes = max_file_bytes
        self._upload = Upload()
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

    def result(self) -> Upload:
        if not self._complete:
            raise ApiError(400, "The multipart body ends before its last boundary.")
        if self._upload.filename is None:
            raise ApiError(400, "Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
        self._upload.sha256 = self._digest.hexdigest()
        return self._upload

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise ApiError(400, f"An upload has at most {_MAX_PARTS} parts.")
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
        if self._name != _FILE_FIELD:
            return
        if not options.get(b"filename"):
            raise ApiError(400, "The part 'file' must have a filename.", param="file")
        if self._upload.filename is not None:
            raise ApiError(400, "An upload has one part 'file'; found a second.", param="file")
        self._upload.filename = options[b"filename"].decode("utf-8", "replace")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._name == _FILE_FIELD:
            self._add_to_file(piece)
        elif len(self._value) + len(piece) > _MAX_FIELD_BYTES:
            raise ApiError(400, f"The field '{self._name}' is longer than {_MAX_FIELD_BYTES} bytes.", param=self._name)
        else:
            self._value += piece

    def _add_to_file(self, piece: bytes) -> None:
        self._upload.size += len(piece)
        if self._upload.size > self._max_file_bytes:
            raise ApiError(413, f"The file is larger than the limit of {self._max_file_bytes} bytes.", param="file")
        self._digest.update(piece)
        self._sink.write(piece)

    def _end_part(self) -> None:
        if self._name == _FILE_FIELD:
            return
        if not self._name or self._name in self._upload.fields:
            raise unrecognized_argument(self._name)
        self._upload.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._complete = True
