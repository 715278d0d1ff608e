"""The HTTP of the server's processes: uvicorn's fast protocol, with limits, and errors in the API's format."""

import asyncio
import http
from typing import Any, ClassVar, Final, NoReturn

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from retune.server import ids
from retune.server.errors import ApiError

# The parser itself has no limits. 64 KiB is what uvicorn's other protocol allows by default.
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_TARGET_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 100
_HEAD_TOO_LARGE: Final = (
    f"The request's headers are too large: expected at most {MAX_HEADERS} headers, and {MAX_HEAD_BYTES} bytes of "
    "address and headers together."
)
# For a refused client's first bytes to come: a socket that is closed on bytes unread takes the answer back.
_REFUSED_SECONDS = 0.2


class BoundedHttpProtocol(HttpToolsProtocol):
    """Disconnects clients whose request does not arrive, stalls or is not HTTP, and those above the maximum.

    Connections need no key, so what they may hold is bounded: their number by uvicorn's `limit_concurrency`, their
    time by the attributes. Deadlines are checked periodically, and so enforced up to half of `head_seconds` late.

    Attributes:
        head_seconds: From the connection, or a request's first byte, to the end of the request's headers; and from an
            answer to the end of a body that it did not wait for.
        body_pause_seconds: Longest pause within a body.
    """

    head_seconds: ClassVar = 30.0
    body_pause_seconds: ClassVar = 60.0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._max_connections = self.limit_concurrency
        self.limit_concurrency = None  # uvicorn's own refusal is not in the API's format.
        self._is_refused = False
        self._is_in_head = False
        self._is_in_body = False
        self._head_bytes = 0
        self._pending_bytes = 0
        self._refusal: ApiError | None = None
        self._deadline: float | None = None
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Accept a client, or refuse it."""
        super().connection_made(transport)
        if self._max_connections is not None and len(self.connections) > self._max_connections:
            self._refuse()
            return
        self._deadline = self.loop.time() + self.head_seconds
        self._watch_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        if self._watch:
            self._watch.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start counting a request's bytes."""
        self._is_in_head = True
        self._head_bytes = self._pending_bytes = 0
        if self._deadline is None:
            self._deadline = self.loop.time() + self.head_seconds
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Bound the request's line."""
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            self._refuse_head(414, f"The request's address is longer than {MAX_TARGET_BYTES} bytes.")
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Bound the headers."""
        self._count(len(name) + len(value))
        if len(self.headers) >= MAX_HEADERS:
            self._refuse_head(431, _HEAD_TOO_LARGE)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop counting: the headers are complete."""
        self._settle_host()
        self._is_in_head = False
        self._is_in_body = True
        self._deadline = self.loop.time() + self.body_pause_seconds
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Set no deadline while the server works."""
        self._is_in_body = False
        self._deadline = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Limit the wait for the rest of a body that is not read."""
        if self._is_in_body:
            self._deadline = self.loop.time() + self.head_seconds
        super().on_response_complete()

    def data_received(self, data: bytes) -> None:
        """Receive bytes."""
        if self._is_refused:
            return
        was_in_head = self._is_in_head
        if self._is_in_body and not self.cycle.response_complete:
            self._deadline = self.loop.time() + self.body_pause_seconds
        super().data_received(data)
        if self._is_refused:
            return
        if self._is_in_head:
            # A header is counted once it is whole, which it may never be.
            self._pending_bytes += len(data) if was_in_head else 0
            if self._pending_bytes > MAX_HEAD_BYTES:
                self._refusal = _disconnecting(431, _HEAD_TOO_LARGE)
                self.send_400_response("")
        elif self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            # Line ends between requests: uvicorn gives up its own deadline for them, and they begin no request.
            self._deadline = self.loop.time() + self.head_seconds

    def send_400_response(self, msg: str) -> None:
        """Answer what never became a request, and disconnect."""
        self._write(self._refusal or _disconnecting(400, msg))
        # The rest of what was sent is taken for a moment: a socket that is closed on it takes the answer back.
        self._is_refused = True
        self.loop.call_later(_REFUSED_SECONDS, self.transport.close)

    def _count(self, n_bytes: int) -> None:
        self._head_bytes += n_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head(431, _HEAD_TOO_LARGE)

    def _refuse_head(self, status: int, message: str) -> NoReturn:
        self._refusal = _disconnecting(status, message)
        raise self._refusal  # The parser stops, and uvicorn calls `send_400_response`.

    def _settle_host(self) -> None:
        """Have one `Host` header at most, and that of the address where the address names one (RFC 9112, 3.2.2)."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1:
            self._refuse_head(400, "The request has more than one Host header.")
        if b"://" in self.url.partition(b"?")[0]:
            authority = self.url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
            self.headers[:] = [header for header in self.headers if header[0] != b"host"] + [(b"host", authority)]

    def _refuse(self) -> None:
        self._is_refused = True
        reason = f"The server has {self._max_connections} connections, as many as it takes. Try again in a moment."
        headers = {"connection": "close", "retry-after": "1"}
        self._write(
            ApiError(503, reason, type="server_error", code="too_many_connections", headers=headers, retryable=True)
        )
        has_many_refused = len(self.connections) > 2 * (self._max_connections or 0)
        self.loop.call_later(0 if has_many_refused else _REFUSED_SECONDS, self.transport.close)

    def _write(self, error: ApiError) -> None:
        response = error.response()
        status = http.HTTPStatus(error.status)
        head = [
            f"HTTP/1.1 {status.value} {status.phrase}".encode(),
            b"x-request-id: " + ids.new_request_id().encode(),
            *(name + b": " + value for name, value in response.raw_headers),
        ]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + bytes(response.body))

    def _watch_deadline(self) -> None:
        now = self.loop.time()
        if self._is_in_body and self.flow.read_paused:
            # It is the server that has paused reading.
            self._deadline = now + self.body_pause_seconds
        if self._deadline is not None and now >= self._deadline:
            # Not `close`, which would wait until the client has taken what was written to it.
            self.transport.abort()
            return
        soon = now + self.head_seconds / 2
        self._watch = self.loop.call_at(min(soon, self._deadline or soon), self._watch_deadline)


def _disconnecting(status: int, message: str) -> ApiError:
    return ApiError(status, message, headers={"connection": "close"})
