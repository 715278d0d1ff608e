"""One request and its answer on their way through."""

import asyncio
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

from starlette.types import Message, Receive, Send

from retune.server import ids
from retune.server.api.body_limits import BodyLimit, BodyMemory

_OPENAI_VERSION = b"2020-10-01"
_DRAIN_SECONDS = 30
_DRAIN_IDLE_SECONDS = 5


class Exchange:
    """Counts and limits what is read, and gives the answer the API's headers.

    Attributes:
        request_id: The client finds it in `x-request-id`, the operator in the log.
        status: The answer's status; 0 before it has begun.
        received_bytes: How much of the body was read.
        caller: Tells callers apart, and nothing about them.
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
        """How long it has taken so far."""
        return time.perf_counter() - self._began

    def limit_body(self, limit: BodyLimit, headers: Mapping[bytes, bytes]) -> None:
        """Hold the body to a limit.

        Raises:
            ApiError: 413: the headers announce more.
        """
        self._limit = limit
        self._expects_continue = headers.get(b"expect", b"").lower() == b"100-continue"
        if int(headers.get(b"content-length", b"0")) > limit.max_bytes:
            raise limit.error()

    async def receive(self) -> Message:
        """Read on.

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
        """Wait until the client hangs up. Its whole body must be read."""
        while (await self._next())["type"] != "http.disconnect":
            pass

    def close(self) -> None:
        """Give back what the body took."""
        self._memory.give_back(self._kept_bytes)
        self._kept_bytes = 0

    async def send(self, message: Message) -> None:
        """Send on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add_headers(message)
        elif self.status >= 400 and not self._body_is_read and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _drain(self) -> None:
        """Read what the client still sends, to no end: otherwise it might see a broken connection and no answer."""
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


current_exchange: Final[ContextVar[Exchange]] = ContextVar("current_exchange")
