import re
import sqlite3

import openai
import pytest
from openai import OpenAI
from server_process import ServerProcess

KEY = "sk-the-right-key-of-this-server"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/nothing"), ("POST", "/v1/fine-tunes"), ("GET", "/v1/files/"), ("GET", "/"), ("GET", "/docs")],
)
def test_an_unknown_address_is_told_so(server: ServerProcess, method: str, path: str):
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
def test_a_wrong_method_is_told_so(server: ServerProcess, method: str, path: str):
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
def test_a_body_that_is_no_request_is_a_400(server: ServerProcess, body: bytes, words: str):
    answer = server.request("POST", "/v1/fine_tuning/jobs", body)

    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert words in answer.error["message"]


def test_a_body_without_end_is_not_kept_in_memory(server: ServerProcess):
    body = b'{"model": "' + b"x" * (33 << 20) + b'"}'

    answer = server.request("POST", "/v1/fine_tuning/jobs", body)

    assert answer.status == 413
    assert "33554432 bytes" in answer.error["message"]


def test_every_answer_has_the_headers_of_the_api(server: ServerProcess):
    for path in ("/v1/models", "/v1/nothing", "/v1/files/unknown", "/health"):
        headers = server.request("GET", path).headers
        assert re.fullmatch(r"req_[0-9a-f]{32}", headers["x-request-id"])
        assert headers["openai-version"] == "2020-10-01"
        assert headers["openai-processing-ms"].isdecimal()
        assert headers["content-type"] == "application/json"


def test_the_request_id_reaches_the_client(client: OpenAI):
    assert client.models.retrieve("baseline-text")._request_id
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("unknown")
    assert (caught.value.request_id or "").startswith("req_")


@pytest.mark.parametrize("name", ["ft:a:b::c", "a/b", "a b", "日本", "a%2Fb", "...", "x" * 2000])
def test_any_model_name_is_just_unknown(client: OpenAI, name: str):
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve(name)

    assert caught.value.body["message"] == f"The model '{name}' does not exist"  # type: ignore[index]


def test_the_right_key_opens_and_others_do_not(start_server):
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


def test_the_key_can_come_as_an_option(start_server):
    server: ServerProcess = start_server("--api-key", KEY)

    assert server.request("GET", "/v1/models", headers={"Authorization": f"Bearer {KEY}"}).status == 200
    assert server.request("GET", "/v1/models").status == 401


def test_an_unforeseen_failure_has_a_body_and_the_server_lives_on(start_server):
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
