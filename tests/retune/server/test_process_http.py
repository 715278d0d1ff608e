"""HTTP connections: limits on their number, their headers and their time."""

import asyncio
import http.client
import json
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from server_process import ServerProcess
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState
from waiting import wait_for

from retune.server.app import build_app, open_services
from retune.server.process.http_protocol import BoundedHttpProtocol
from retune.server.settings import ServerSettings

UPLOAD = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
BODY = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n--b\r\n'
BODY += b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Impatient(BoundedHttpProtocol):
    head_seconds = 0.2
    body_pause_seconds = 0.2


@contextmanager
def listening(app: ASGIApp, *, max_connections: int | None = None) -> Iterator[int]:
    """Serve an application with little patience; its port."""
    config = Config(app, ws="none", log_config=None, limit_concurrency=max_connections)
    state = ServerState()
    ports: list[int] = []
    loop = asyncio.new_event_loop()

    async def listen() -> None:
        server = await loop.create_server(lambda: Impatient(config, state, {}), "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])

    async def hang_up() -> None:
        for connection in list(state.connections):
            connection.shutdown()
        await asyncio.gather(*state.tasks)

    loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield ports[0]
    asyncio.run_coroutine_threadsafe(hang_up(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("impatient")


@pytest.fixture(scope="module")
def app(data: Path) -> Iterator[ASGIApp]:
    services = open_services(ServerSettings(data_directory=data))
    services.start()
    yield build_app(services)
    services.close()


@pytest.fixture
def connect(app: ASGIApp) -> Iterator[Callable[[bytes], socket.socket]]:
    """Connect to an impatient server, and send something."""
    with listening(app) as port:
        sockets: list[socket.socket] = []

        def begin(data: bytes) -> socket.socket:
            sockets.append(socket.create_connection(("127.0.0.1", port), timeout=30))
            sockets[-1].sendall(data)
            return sockets[-1]

        yield begin
        for each in sockets:
            each.close()


def read_to_end(connection: socket.socket) -> bytes:
    """All that comes until the server hangs up; fails where it does not."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def is_hung_up_on(connection: socket.socket, more: bytes) -> bool:
    try:
        connection.sendall(more)
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


@pytest.mark.parametrize(
    "begun", [b"", b"\r\n", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: local"], ids=["none", "end", "line", "header"]
)
def test_a_client_that_sends_no_request_is_disconnected(
    connect: Callable[[bytes], socket.socket], begun: bytes
) -> None:
    assert read_to_end(connect(begun)) == b""


@pytest.mark.parametrize("rest", [b"\r\n", b"GET /hea"])
def test_a_client_that_goes_silent_after_an_answer_is_disconnected(
    connect: Callable[[bytes], socket.socket], rest: bytes
) -> None:
    connection = connect(HEALTH)
    answer = b""
    while not answer.endswith(b"}"):
        answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 ")

    connection.sendall(rest)

    assert read_to_end(connection) == b""


def test_slow_headers_do_not_keep_a_connection(connect: Callable[[bytes], socket.socket]) -> None:
    connection = connect(b"GET /health HTTP/1.1\r\n")
    wait_for(lambda: is_hung_up_on(connection, b"X-More: y\r\n"), "the end of the connection")


def test_an_upload_that_stops_leaves_nothing_behind(connect: Callable[[bytes], socket.socket], data: Path) -> None:
    head = UPLOAD + b"Content-Length: 2000000\r\n\r\n"
    connection = connect(head + BODY + b"x" * 1_500_000)

    read_to_end(connection)

    wait_for(lambda: not [path for path in (data / "files").rglob("*") if path.is_file()], "the end of its file")


def test_a_refused_upload_does_not_keep_its_connection(connect: Callable[[bytes], socket.socket]) -> None:
    head = UPLOAD.replace(b"/v1/files", b"/v1/nothing") + b"Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n"
    connection = connect(head)
    assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
    wait_for(lambda: is_hung_up_on(connection, b"x"), "the end of the connection")


def test_a_slow_answer_is_not_cut_off() -> None:
    async def slow(_scope: Scope, receive: Receive, send: Send) -> None:
        more_body = True
        while more_body:
            await asyncio.sleep(0.5)
            more_body = (await receive())["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    with listening(slow) as port, closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        # More than the server's buffers hold, so that the client stands still while the application does.
        connection.request("POST", "/", b"x" * 200_000)
        assert connection.getresponse().status == 200


def test_one_connection_too_many_gets_a_503(app: ASGIApp) -> None:
    with listening(app, max_connections=3) as port:
        first = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(3)]
        for connection in first:
            connection.sendall(HEALTH)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")

        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as another:
            another.request("GET", "/health")
            response = another.getresponse()
            refused = json.loads(response.read())
        assert (response.status, response.headers["retry-after"]) == (503, "1")
        assert set(refused["error"]) == {"message", "type", "param", "code"}
        assert refused["error"]["code"] == "too_many_connections"

        for connection in first:
            connection.close()
        wait_for(lambda: status_of_health(port) == 200, "room")


def status_of_health(port: int) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/health")
        return connection.getresponse().status


def test_the_limit_of_open_files_is_raised(server: ServerProcess) -> None:
    assert server.process
    soft, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    assert soft == hard


def test_connections_leave_file_descriptors_for_answers() -> None:
    code = "import resource; from retune.server.process import http_server\n"
    code += "resource.setrlimit(resource.RLIMIT_NOFILE, (400, 650)); http_server.raise_open_files_limit()\n"
    code += "print(*resource.getrlimit(resource.RLIMIT_NOFILE), http_server.max_connections())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout

    assert said.split() == ["650", "650", "133"]


def test_health_is_answered_while_many_wait_to_write(start_server: Callable[..., ServerProcess]) -> None:
    server: ServerProcess = start_server()
    purposes = [{"purpose": "user_data", "filename": "a", "bytes": 1, "mime_type": "text/plain"}] * 45
    with (
        closing(sqlite3.connect(server.data_directory / "server.sqlite", isolation_level=None)) as outside,
        ThreadPoolExecutor(len(purposes)) as pool,
    ):
        outside.execute("BEGIN IMMEDIATE")
        created = [pool.submit(server.request, "POST", "/v1/uploads", body) for body in purposes]
        waiting = f"retune_http_requests_in_flight {len(created) + 1}.0"
        wait_for(lambda: waiting in server.request("GET", "/metrics").content.decode(), "all of them")

        for path in ("/health", "/v1/files", "/v1/models/baseline-text"):
            assert server.request("GET", path).status == 200
        assert not any(each.done() for each in created)

        outside.execute("ROLLBACK")
        assert {each.result().status for each in created} == {200}
