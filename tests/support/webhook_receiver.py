"""Receivers of webhooks that keep what they got, and answer as a test wants."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from waiting import wait_for


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """An HTTP server on a port of its own, which refuses connections until it listens.

    Attributes:
        answers: Statuses of the next answers; 204 when there are no more.
        headers: Headers of every answer.
        silence: While it is clear, no answer comes.
        received: Every request so far.
    """

    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    silence: threading.Event = field(default_factory=threading.Event)
    received: list[Received] = field(default_factory=list)
    http: ThreadingHTTPServer = field(init=False)
    thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self.silence.set()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self), bind_and_activate=False)
        self.http.daemon_threads = True
        # Bound and not listening: the port is kept, and whoever connects is refused.
        self.http.server_bind()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/hook"

    @property
    def notifications(self) -> list[tuple[dict[str, str], bytes]]:
        """Headers and body of every request so far."""
        return [(request.headers, request.body) for request in self.received]

    def listen(self) -> "Receiver":
        self.http.server_activate()
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return self

    def wait_for_requests(self, count: int) -> list[Received]:
        wait_for(lambda: len(self.received) >= count, f"request {count}")
        return list(self.received)

    def close(self) -> None:
        self.silence.set()
        if self.thread:
            self.http.shutdown()
            self.thread.join()
        self.http.server_close()


@contextmanager
def webhook_receivers() -> Iterator[list[Receiver]]:
    """A list to put receivers into; they are closed with the block."""
    receivers: list[Receiver] = []
    try:
        yield receivers
    finally:
        for receiver in receivers:
            receiver.close()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Take notifications until the block ends."""
    with webhook_receivers() as receivers:
        receivers.append(Receiver().listen())
        yield receivers[0]


def _handler_for(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.received.append(Received(self.path, headers, body))
            receiver.silence.wait()
            self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
