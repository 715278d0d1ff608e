"""HTTP as the server's processes speak it: uvicorn's fast protocol, bounded, and with the API's answers."""

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from retune.server import ids
from retune.server.api.errors import ApiError

# What uvicorn's other protocol allows by default; the parser itself knows no bound.
MAX_HEAD_BYTES: Final = 64 * 1024


class BoundedHttpProtocol(HttpToolsProtocol):
    """Hangs up on a client whose request line and headers don't end, or whose request is no HTTP."""

    _is_in_head = False
    _head_bytes = 0

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._is_in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Count no further."""
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(f"The request's line and headers are larger than {MAX_HEAD_BYTES} bytes.")

    def send_400_response(self, msg: str) -> None:
        """Answer what never became a request, and hang up."""
        response = ApiError(400, msg, headers={"x-request-id": ids.new_request_id(), "connection": "close"}).response()
        head = [b"HTTP/1.1 400 Bad Request", *(name + b": " + value for name, value in response.raw_headers)]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + bytes(response.body))
        self.transport.close()
