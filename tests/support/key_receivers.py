"""Servers that write down what keys they were sent, in the place of providers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

_EMPTY_LIST = json.dumps({"object": "list", "data": [], "has_more": False}).encode()
_REFUSAL = json.dumps({"error": {"message": "not here", "type": "x", "param": None, "code": None}}).encode()


@dataclass
class KeyReceiver:
    """What one server got.

    Attributes:
        base_url: Its address as a provider.
        requests: Method, path and all headers of each request, with the length of the body.
        redirect: Where it sends everybody to, with 307.
    """

    base_url: str
    requests: list[tuple[str, str, dict[str, str], int]] = field(default_factory=list)
    redirect: str | None = None

    @property
    def said(self) -> str:
        """All that was sent but bodies, as text."""
        return repr(self.requests)

    @property
    def keys(self) -> set[str | None]:
        """The keys that it was shown."""
        return {headers.get("authorization") for _, _, headers, _ in self.requests}


@contextmanager
def key_receiver() -> Iterator[KeyReceiver]:
    """A provider that has nothing and takes nothing."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append((self.command, self.path, headers, length))
            status, body = (200, _EMPTY_LIST) if self.command == "GET" else (400, _REFUSAL)
            self.send_response(307 if receiver.redirect else status)
            if receiver.redirect:
                self.send_header("Location", receiver.redirect.removesuffix("/v1") + self.path)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_arguments: object) -> None:
            """Nothing is to be printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = KeyReceiver(f"http://127.0.0.1:{server.server_port}/v1")
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
