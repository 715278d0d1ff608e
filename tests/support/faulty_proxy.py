"""A network that fails on purpose, in front of a server that does not."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Fault:
    """What happens to requests that match, `times` times.

    Attributes:
        after_forwarding: The server gets the request all the same; only its answer is lost.
        status: Answer with this status; None: say nothing and close the connection.
        body: What that answer holds.
        delay_seconds: Wait that long before anything is sent back.
    """

    method: str
    path: str
    times: int = 1
    after_forwarding: bool = False
    status: int | None = None
    body: bytes = b'{"error": {"message": "on purpose", "type": "server_error", "param": null, "code": null}}'
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0

    def matches(self, method: str, path: str) -> bool:
        return self.times > 0 and method == self.method and urlsplit(path).path.endswith(self.path)


@dataclass
class FaultyProxy:
    """Forwards to `target`, but for its faults.

    Attributes:
        base_url: Where clients find it.
        dropped_headers: Names, in lower case, that the server never sees.
        requests: Every request so far: method and path.
    """

    base_url: str
    target: str
    faults: list[Fault] = field(default_factory=list)
    dropped_headers: set[str] = field(default_factory=set)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def count(self, method: str, path: str) -> int:
        return sum(1 for sent, where in self.requests if sent == method and urlsplit(where).path.endswith(path))

    def name_shutdown_date(self, model: str, day: object) -> None:
        """Answer for a model with an object that names its end, as OpenAI's do."""
        said = {"id": model, "object": "model", "created": 1, "owned_by": "retune", "shutdown_date": day}
        self.faults.append(Fault("GET", f"/models/{model}", times=1000, status=200, body=json.dumps(said).encode()))

    def take_fault(self, method: str, path: str) -> Fault | None:
        fault = next((fault for fault in self.faults if fault.matches(method, path)), None)
        if fault:
            fault.times -= 1
        return fault


def _handler_for(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    host = urlsplit(proxy.target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def forward(self) -> None:
            proxy.requests.append((self.command, self.path))
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            fault = proxy.take_fault(self.command, self.path)
            answer = self._ask(body) if fault is None or fault.after_forwarding else None
            if fault:
                time.sleep(fault.delay_seconds)
                if fault.status is None:
                    self.close_connection = True
                    return
                answer = (fault.status, fault.body, {"content-type": "application/json", **fault.headers})
            assert answer is not None
            self._reply(*answer)

        do_GET = do_POST = do_PATCH = do_DELETE = forward  # noqa: N815 - the names that http.server calls

        def _ask(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
            connection = http.client.HTTPConnection(host.hostname or "", host.port, timeout=60)
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in {"host", *proxy.dropped_headers}
            }
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
            connection.close()
            return response.status, content, dict(response.getheaders())

        def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in {"content-length", "transfer-encoding", "connection", "server", "date"}:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - http.server's own name
            """Say nothing."""

    return Handler


@contextmanager
def faulty_proxy(target: str) -> Iterator[FaultyProxy]:
    """Put a proxy in front of `target`, such as http://127.0.0.1:8123/v1, while the block runs."""
    proxy = FaultyProxy(base_url="", target=target)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(proxy))
    server.daemon_threads = True
    proxy.base_url = f"http://127.0.0.1:{server.server_port}{urlsplit(target).path}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
