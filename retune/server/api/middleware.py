"""What every request goes through: its id, its key, its headers, and a last resort for errors."""

import logging
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retune.server import ids
from retune.server.api import errors
from retune.server.api.authentication import ApiKeyCheck
from retune.server.api.errors import ApiError

_log = logging.getLogger(__name__)
_SLASHES = re.compile("/{2,}")
_OPENAI_VERSION = "2020-10-01"
_HEALTH = "/health"
_UPLOADS = "/v1/files"
_DRAINED_BYTES = 16 * 1024 * 1024
# JSON is read whole; uploads are streamed and have a limit of their own.
_MAX_JSON_BYTES = 32 * 1024 * 1024


class ApiMiddleware:
    """Answers every request with the API's headers, and every failure with its error body."""

    def __init__(self, app: ASGIApp, *, key_check: ApiKeyCheck) -> None:
        self._app = app
        self._key_check = key_check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The recorded service reads /jobs//events as /jobs/events.
        scope["path"] = _SLASHES.sub("/", scope["path"])
        exchange = _Exchange(receive, send, max_body_bytes=None if scope["path"] == _UPLOADS else _MAX_JSON_BYTES)
        refusal = self._refusal(scope)
        if refusal:
            await refusal.response()(scope, exchange.receive, exchange.send)
        else:
            await self._run(scope, exchange)

    def _refusal(self, scope: Scope) -> ApiError | None:
        if scope["path"] == _HEALTH:
            return None
        return self._key_check.refuse(Headers(scope=scope).get("authorization"))

    async def _run(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            _log.info("%s: the client hung up in the middle of its request", exchange.request_id)
        except Exception as error:
            if exchange.answered:
                raise
            response = _explain(error, scope, exchange.request_id).response()
            await response(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request and its answer on their way through."""

    def __init__(self, receive: Receive, send: Send, *, max_body_bytes: int | None) -> None:
        self.request_id = ids.new_request_id()
        self.answered = False
        self._receive = receive
        self._send = send
        self._max_body_bytes = max_body_bytes
        self._body_bytes = 0
        self._body_is_read = False
        self._began = time.perf_counter()

    async def receive(self) -> Message:
        message = await self._next()
        if self._max_body_bytes is not None and self._body_bytes > self._max_body_bytes:
            raise ApiError(413, f"The request's body is larger than the limit of {self._max_body_bytes} bytes.")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] >= 400:
                await self._drain()
            self.answered = True
            self._add_headers(MutableHeaders(scope=message))
        await self._send(message)

    async def _drain(self) -> None:
        # A client that is still sending its body would see a broken connection instead of the error.
        bound = self._body_bytes + _DRAINED_BYTES
        while not self._body_is_read and self._body_bytes < bound:
            await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._body_bytes += len(message.get("body", b""))
        self._body_is_read = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    def _add_headers(self, headers: MutableHeaders) -> None:
        headers["x-request-id"] = self.request_id
        headers["openai-version"] = _OPENAI_VERSION
        headers["openai-processing-ms"] = str(round((time.perf_counter() - self._began) * 1000))


def _explain(error: Exception, scope: Scope, request_id: str) -> ApiError:
    if errors.is_out_of_space(error):
        _log.error("%s: the disk is full: %s", request_id, error)
        return errors.out_of_space()
    _log.error("%s: %s %s failed", request_id, scope["method"], scope["path"], exc_info=error)
    return errors.internal_error(request_id)
