"""One request while it is answered: its id, its caller, how much of its body was read, and how large that may be."""

import asyncio
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from starlette.types import Message, Receive, Send

from retune.server import ids
from retune.server.api.multipart import FORM_BYTES
from retune.server.errors import ApiError, context_exceeded, too_large
from retune.server.settings import ServerSettings
from retune.trainers.base import Trainer

# JSON is read whole; files and parts are streamed and have limits of their own.
MAX_JSON_BYTES: Final = 32 * 1024 * 1024
# JSON may write a character of four bytes as two escapes of six. In addition to the prompt there are tools and schemas.
_BYTES_OF_CHARACTER = 12
_BYTES_BESIDE_PROMPT = 2 * 1024 * 1024
# Bodies that are waited for or worked on, all together.
MAX_BODIES_BYTES: Final = 512 * 1024 * 1024
_PROMPTS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})
_FILES = "/v1/files"
_UPLOADS = "/v1/uploads/"
_PARTS = "/parts"
_OPENAI_VERSION = b"2020-10-01"
_DRAIN_SECONDS = 30
_DRAIN_IDLE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """The limit of one kind of request.

    Attributes:
        max_bytes: Of the whole body.
        what: What is too large, as the error names it.
        reported_bytes: The limit that the error names.
        param: The field to blame.
        context_tokens: Where the body is a prompt, the longest context that it is for.
        is_streamed: Nothing of it is kept in memory.
    """

    max_bytes: int
    what: str
    reported_bytes: int
    param: str | None
    context_tokens: int | None = None
    is_streamed: bool = False

    def error(self) -> ApiError:
        """A 413, or a 400 if the body is a prompt."""
        if self.context_tokens is not None:
            return context_exceeded(self.context_tokens, f"a body of more than {self.max_bytes} bytes")
        return too_large(self.what, self.reported_bytes, param=self.param)


class BodyMemory:
    """How much of the process's memory is taken by bodies."""

    def __init__(self) -> None:
        self._taken = 0

    def take(self, n_bytes: int) -> None:
        """Reserve memory for a part of a body.

        Raises:
            ApiError: 503: not enough is left.
        """
        self._taken += n_bytes
        if self._taken > MAX_BODIES_BYTES:
            message = "The server has as many large requests in its memory as it takes. Try again in a moment."
            headers = {"retry-after": "1"}
            raise ApiError(503, message, type="server_error", code="overloaded", headers=headers, retryable=True)

    def release(self, n_bytes: int) -> None:
        """Release some, whether `take` raised or not."""
        self._taken -= n_bytes


class BodyLimits:
    """The limits of one server."""

    def __init__(self, settings: ServerSettings, trainer: Trainer) -> None:
        self._json = BodyLimit(MAX_JSON_BYTES, "request's body", MAX_JSON_BYTES, None)
        prompt_bytes = min(MAX_JSON_BYTES, _BYTES_OF_CHARACTER * trainer.context_characters + _BYTES_BESIDE_PROMPT)
        self._prompt = BodyLimit(prompt_bytes, "request's body", prompt_bytes, None, trainer.context_tokens)
        self._file = _of_form("file", settings.max_file_bytes, "file")
        self._part = _of_form("part", settings.max_part_bytes, "data")

    def of(self, path: str) -> BodyLimit:
        """The limit of requests to a path."""
        if path == _FILES:
            return self._file
        if path in _PROMPTS:
            return self._prompt
        return self._part if path.startswith(_UPLOADS) and path.endswith(_PARTS) else self._json


def _of_form(what: str, max_bytes: int, param: str) -> BodyLimit:
    return BodyLimit(max_bytes + FORM_BYTES, what, max_bytes, param, is_streamed=True)


class RequestContext:
    """Counts and limits the bytes that are read, and adds the API's headers to the answer.

    Attributes:
        request_id: The client finds it in `x-request-id`, the operator in the log.
        status: The answer's status; 0 before it has begun.
        received_bytes: How much of the body was read.
        caller: Distinguishes callers, and reveals nothing about them.
    """

    def __init__(self, receive: Receive, send: Send, *, caller: str, memory: BodyMemory) -> None:
        self.request_id = ids.new_request_id()
        self.status = 0
        self.received_bytes = 0
        self.caller = caller
        self._memory = memory
        self._kept_bytes = 0
        self._receive = receive
        self._send = send
        self._limit: BodyLimit | None = None
        self._expects_continue = False
        self._body_is_read = False
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the request began."""
        return time.perf_counter() - self._began

    def limit_body(self, limit: BodyLimit, headers: Mapping[bytes, bytes]) -> None:
        """Set the limit of the body.

        Raises:
            ApiError: 413: the headers announce more.
        """
        self._limit = limit
        self._expects_continue = headers.get(b"expect", b"").lower() == b"100-continue"
        if int(headers.get(b"content-length", b"0")) > limit.max_bytes:
            raise limit.error()

    async def receive(self) -> Message:
        """Receive the next part of the body.

        Raises:
            ApiError: 413: more came than the limit.
        """
        message = await self._next()
        if self._limit is not None:
            if self.received_bytes > self._limit.max_bytes:
                raise self._limit.error()
            if not self._limit.is_streamed:
                n_bytes = len(message.get("body", b""))
                self._kept_bytes += n_bytes
                self._memory.take(n_bytes)
        return message

    async def client_left(self) -> None:
        """Wait until the client disconnects. Its whole body must have been read."""
        while (await self._next())["type"] != "http.disconnect":
            pass

    def close(self) -> None:
        """Release the memory that the body took."""
        self._memory.release(self._kept_bytes)
        self._kept_bytes = 0

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add_headers(message)
        elif self.status >= 400 and not self._body_is_read and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _drain(self) -> None:
        """Read and discard what the client still sends: otherwise it might see a broken connection and no answer."""
        if self._expects_continue and self.received_bytes == 0:
            return  # Reading would ask it to send its body.
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self._body_is_read:
                    async with asyncio.timeout(_DRAIN_IDLE_SECONDS):
                        await self._next()
        except TimeoutError:
            pass  # It had its time; the connection is closed on it.

    async def _next(self) -> Message:
        message = await self._receive()
        self.received_bytes += len(message.get("body", b""))
        self._body_is_read = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    def _add_headers(self, message: Message) -> None:
        message["headers"] = [
            *message.get("headers", ()),
            (b"x-request-id", self.request_id.encode()),
            (b"openai-version", _OPENAI_VERSION),
            (b"openai-processing-ms", b"%d" % round(self.seconds * 1000)),
        ]


current_request: Final[ContextVar[RequestContext]] = ContextVar("current_request")
