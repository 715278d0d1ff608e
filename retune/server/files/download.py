"""The answer that is a file's bytes."""

import re
from pathlib import Path

from fastapi.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from retune.server.errors import ApiError
from retune.server.files.store import no_such_file
from retune.server.storage.tables import FileRow

_SEPARATORS = re.compile(r"[/\\]")


class FileDownload(FileResponse):
    """A file, or the ranges of it that the request names.

    Args:
        file: Its object.
        content: Where its bytes lie.
    """

    def __init__(self, file: FileRow, content: Path) -> None:
        # The name is the uploader's: whoever saves the file under it should not leave his directory.
        name = _SEPARATORS.split(file.filename)[-1] or file.id
        super().__init__(content, media_type="application/octet-stream", filename=name)
        self._file_id = file.id
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises:
            ApiError: 404: it was deleted meanwhile; 400 or 416: the request asks for a range that it has not.
        """
        start = _HeldStart(send)
        try:
            await super().__call__(scope, receive, start.pass_on)
        except (FileNotFoundError, RuntimeError) as error:
            if start.is_sent or self._content.exists():
                raise
            raise no_such_file(self._file_id) from error


class _HeldStart:
    """Holds an answer's start back until its body comes: then the file is open, and the range was understood."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self.is_sent = False

    async def pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is not None:
            start, self._start = self._start, None
            _refuse_failure(start, message)
            self.is_sent = True
            await self._send(start)
        await self._send(message)


def _refuse_failure(start: Message, body: Message) -> None:
    if start["status"] == 416:
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        size = headers["content-range"].removeprefix("bytes */")
        raise ApiError(
            416,
            f"The requested range begins behind the end of the file, which has {size} bytes.",
            headers={"content-range": headers["content-range"]},
        )
    if start["status"] == 400:
        reason = body["body"].decode().rstrip(".")
        raise ApiError(400, f"The Range header can't be read: {reason}. Expected such as bytes=0-99.")
