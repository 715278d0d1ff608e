"""Errors have the API's body, whatever is wrong with a request."""

import http.client
import json
import re
import signal
import socket
import sqlite3
from collections.abc import Iterator
from urllib.parse import urlsplit

import openai
import pytest
from openai import OpenAI
from server_process import ServerProcess, StartServer

KEY = "sk-the-right-key-of-this-server"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/nothing"), ("POST", "/v1/fine-tunes"), ("GET", "/v1/files/"), ("GET", "/"), ("GET", "/docs")],
)
def test_an_unknown_address_is_a_404(server: ServerProcess, method: str, path: str) -> None:
    answer = server.request(method, path)

    assert answer.status == 404
    assert answer.error == {
        "message": f"Invalid URL ({method} {path})",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/v1/files"), ("DELETE", "/v1/fine_tuning/jobs"), ("GET", "/v1/chat/completions")]
)
def test_a_wrong_method_is_a_405(server: ServerProcess, method: str, path: str) -> None:
    answer = server.request(method, path)

    assert answer.status == 405
    assert answer.error["message"].startswith(f"Not allowed to {method} on {path}.")
    assert "allow" in answer.headers


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"model": ', "not valid JSON"),
        (b"[]", "JSON object"),
        (b"", "JSON object"),
        (b"\xff", "JSON"),
        (b'"text"', "JSON object"),
        (b"[" * 100_000, "JSON"),
        (b"{}", "Missing required parameter: 'model'."),
        (b'{"model": "m", "training_file": null}', "training_file"),
        (b'{"model": "\\ud800", "training_file": "f"}', "model"),
        (b'{"model": 5, "training_file": "f"}', "model"),
    ],
)
def test_an_invalid_body_is_a_400(server: ServerProcess, body: bytes, words: str) -> None:
    answer = server.request("POST", "/v1/fine_tuning/jobs", body)

    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert words in answer.error["message"]


def test_errors_stay_short_whatever_they_quote(server: ServerProcess) -> None:
    long = "x" * 1_000_000
    message = {
        "role": "assistant",
        "tool_calls": [{"id": long, "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    tool = {"type": "function", "function": {"name": "f"}}
    for asked in (
        {long: 1},
        {"messages": [message]},
        {"tool_choice": {"type": "function", "function": {"name": long}}},
    ):
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "tools": [tool], **asked}
        answer = server.request("POST", "/v1/chat/completions", body)
        assert answer.status == 400
        assert len(answer.content) < 5000


def test_a_body_without_end_is_not_kept_in_memory(server: ServerProcess) -> None:
    body = b'{"model": "' + b"x" * (33 << 20) + b'"}'

    answer = server.request("POST", "/v1/fine_tuning/jobs", body)

    assert answer.status == 413
    assert "33554432 bytes" in answer.error["message"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with small limits."""
    server = ServerProcess(
        tmp_path_factory.mktemp("small") / "data",
        ("--max-file-bytes", "1MB", "--allowed-host", "models.internal"),
    ).start()
    yield server
    assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("path", "declared", "words", "param"),
    [
        ("/v1/files", 100 << 20, "The file is larger than the limit of 1000000 bytes.", "file"),
        ("/openai/files?api-version=1", 100 << 20, "The file is larger than the limit of 1000000 bytes.", "file"),
        ("/v1/uploads/upload_1/parts", 66 << 20, "The part is larger than the limit of 67108864 bytes.", "data"),
        ("/v1/fine_tuning/jobs", 33 << 20, "The request's body is larger than the limit of 33554432 bytes.", None),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_read(
    small: ServerProcess, path: str, declared: int, words: str, param: str | None
) -> None:
    with socket.create_connection(address_of(small), timeout=30) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {declared}\r\n"
        connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode())
        # The answer is there, though not a byte of the body was sent.
        response = http.client.HTTPResponse(connection)
        response.begin()
        error = json.loads(response.read())["error"]

    assert (response.status, response.getheader("x-should-retry")) == (413, "false")
    assert (error["message"], error["param"]) == (words, param)


def test_expect_100_continue_is_refused_before_the_body_is_sent(small: ServerProcess) -> None:
    with socket.create_connection(address_of(small), timeout=30) as connection:
        head = "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000000\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
def test_a_client_that_sends_the_whole_body_reads_the_error(small: ServerProcess, headers: dict[str, str]) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        small.client().files.create(file=("a", b"x" * (60 << 20)), purpose="user_data", extra_headers=headers)

    assert caught.value.status_code == 413
    assert small.request("GET", "/health").status == 200


def test_a_body_of_unknown_length_is_limited_too(small: ServerProcess) -> None:
    address = address_of(small)
    connection = http.client.HTTPConnection(*address, timeout=30)
    pieces = (b"x" * (1 << 20) for _ in range(40))
    connection.request("POST", "/v1/fine_tuning/jobs", pieces, encode_chunked=True)

    assert connection.getresponse().status == 413
    connection.close()


def address_of(server: ServerProcess) -> tuple[str, int]:
    address = urlsplit(server.base_url)
    return str(address.hostname), int(address.port or 0)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "127.8.8.8", "[::1]:8", "a.localhost", "models.internal:443"]
)
def test_names_of_this_machine_are_answered(small: ServerProcess, host: str) -> None:
    assert small.request("GET", "/v1/models", headers={"Host": host}).status == 200
    assert small.request("GET", "/v1/models", headers={"Origin": f"http://{host}"}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example.com"},
        {"Host": "127.0.0.1.example.com:8123"},
        {"Host": "192.168.1.5"},
        {"Host": "localhost.example"},
        {"Host": "[::1"},
        {"Host": ""},
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": "http://localhost@example.com"},
    ],
)
def test_other_names_and_pages_are_refused_without_a_key(small: ServerProcess, headers: dict[str, str]) -> None:
    for path in ("/v1/models", "/metrics", "/openai/v1/models", "/nothing"):
        answer = small.request("GET", path, headers=headers)
        assert (answer.status, answer.error["code"]) == (403, "host_not_allowed")
        assert "--allowed-host" in answer.error["message"]
    assert small.request("GET", "/health", headers=headers).status == 200


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PATCH", "CONNECT"])
@pytest.mark.parametrize("path", ["/v1/files", "/v1/fine_tuning/jobs/ftjob-1/cancel", "/nothing", "/metrics", "*"])
def test_unknown_methods_get_the_apis_errors(server: ServerProcess, method: str, path: str) -> None:
    answer = server.request(method, path)

    assert answer.status in {404, 405}
    assert answer.headers["x-should-retry"] == "false"
    if method != "HEAD":
        assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("method", ["BREW", "get"])
def test_invalid_http_gets_the_apis_error(server: ServerProcess, method: str) -> None:
    answer = server.request(method, "/v1/files")

    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"].startswith("req_")


def test_health_answers_head_requests(server: ServerProcess) -> None:
    answer = server.request("HEAD", "/health")

    assert (answer.status, answer.content) == (200, b"")


def test_endless_headers_are_cut_off(server: ServerProcess) -> None:
    with socket.create_connection(address_of(server), timeout=30) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000)
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert server.request("GET", "/health").status == 200


def test_every_answer_has_the_headers_of_the_api(server: ServerProcess) -> None:
    for path in ("/v1/models", "/v1/nothing", "/v1/files/unknown", "/health"):
        headers = server.request("GET", path).headers
        assert re.fullmatch(r"req_[0-9a-f]{32}", headers["x-request-id"])
        assert headers["openai-version"] == "2020-10-01"
        assert headers["openai-processing-ms"].isdecimal()
        assert headers["content-type"] == "application/json"


def test_the_request_id_reaches_the_client(client: OpenAI) -> None:
    assert client.models.retrieve("baseline-text")._request_id
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("unknown")
    assert (caught.value.request_id or "").startswith("req_")


@pytest.mark.parametrize("name", ["ft:a:b::c", "a/b", "a b", "日本", "a%2Fb", "...", "x" * 2000])
def test_any_unknown_model_name_is_a_404(client: OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve(name)

    assert caught.value.body["message"] == f"The model '{name}' does not exist"  # type: ignore[index]


def test_only_the_right_key_is_accepted(start_server: StartServer) -> None:
    server: ServerProcess = start_server("--max-queued-jobs", "3", RETUNE_SERVER_API_KEY=KEY)

    assert server.client(api_key=KEY).models.list().data
    with pytest.raises(openai.AuthenticationError) as caught:
        server.client(api_key="sk-a-wrong-key-that-is-long").models.list()
    assert caught.value.body == {
        "message": "Incorrect API key provided: sk-********long. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    assert caught.value.response.headers["www-authenticate"] == 'Bearer realm="OpenAI API"'
    # An upload is refused by its answer and not by a broken connection, however much is still on its way.
    with pytest.raises(openai.AuthenticationError):
        server.client(api_key="wrong").files.create(file=("a.jsonl", b"x" * 8_000_000), purpose="fine-tune")
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": KEY}, {"Authorization": f"Basic {KEY}"}):
        assert server.request("GET", "/v1/models", headers=headers).status == 401
    assert server.request("GET", "/v1/nothing").status == 401
    health = server.request("GET", "/health")
    assert (health.status, health.json["status"]) == (200, "ok")
    for path in server.data_directory.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


def test_the_key_can_be_an_option(start_server: StartServer) -> None:
    server: ServerProcess = start_server("--api-key", KEY)

    assert server.request("GET", "/v1/models", headers={"Authorization": f"Bearer {KEY}"}).status == 200
    assert server.request("GET", "/v1/models").status == 401


def test_an_unexpected_error_has_a_body_and_the_server_keeps_running(
    start_server: StartServer,
) -> None:
    server: ServerProcess = start_server()
    database = sqlite3.connect(server.data_directory / "server.sqlite")
    database.execute("ALTER TABLE models RENAME TO elsewhere")
    database.close()

    answer = server.request("GET", "/v1/models")

    assert answer.status == 500
    assert answer.error["type"] == "server_error"
    assert answer.headers["x-request-id"] in answer.error["message"]
    assert "sqlite" not in answer.error["message"].lower()
    assert server.request("GET", "/health").status == 200
