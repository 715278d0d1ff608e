"""Requests that are made to cost much: they are refused early, end with their client, and nobody else waits long."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from batch_requests import a_request, end_of, jsonl, results, start_batch
from openai import OpenAI
from server_process import Answer, ServerProcess, ended, example_lines, messages_on_record, upload, wait_for

from retune.server.json_input import MAX_VALUES
from retune.trainers.conditional_lm.prompts import CONTEXT_CHARACTERS, CONTEXT_TOKENS

CHAT = "/v1/chat/completions"
MEGABYTE = 1_000_000


def a_chat(content: str, **fields: Any) -> dict[str, Any]:
    return {"model": "baseline-text", "messages": [{"role": "user", "content": content}], **fields}


def send(server: ServerProcess, *parts: bytes) -> socket.socket:
    address = urlsplit(server.base_url)
    connection = socket.create_connection((str(address.hostname), address.port or 0), timeout=60)
    for part in parts:
        connection.sendall(part)
    return connection


def answer_to(server: ServerProcess, *parts: bytes) -> tuple[int, dict[str, Any]]:
    with send(server, *parts) as connection, connection.makefile("rb") as stream:
        head, _, body = stream.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def in_flight(server: ServerProcess) -> float:
    lines = server.request("GET", "/metrics").content.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("retune_http_requests_in_flight "))


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 90_000 + b"\r\n\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: 1\r\n" * 200 + b"\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Endless: " + b"a" * 400_000, 431),
        (b"GET /health?a=" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /v1/files?" + b"&".join([b"a=1"] * 200) + b" HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
    ],
)
def test_a_request_with_too_large_a_head_is_refused(server: ServerProcess, head: bytes, status: int):
    found, body = answer_to(server, head)

    assert found == status
    assert set(body["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /v1/files HTTP/1.1\r\nHost: [::1].evil.example\r\n", 403),
        (b"GET http://evil.example/v1/files HTTP/1.1\r\nHost: localhost\r\n", 403),
        (b"GET http://localhost/v1/files HTTP/1.1\r\nHost: evil.example\r\n", 200),
        (b"GET /v1/files HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\n", 403),
        (b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: evil.example\r\n", 200),
        (b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost.evil.example\r\n", 403),
    ],
)
def test_hosts_are_compared_whole(server: ServerProcess, head: bytes, status: int):
    assert answer_to(server, head, b"Connection: close\r\n\r\n")[0] == status


@pytest.mark.parametrize("content", ["a" * 30 * MEGABYTE, "alpha beta " * 60_000, "é" * CONTEXT_TOKENS])
def test_a_prompt_beyond_the_context_is_refused(server: ServerProcess, content: str):
    answer = server.request("POST", CHAT, a_chat(content))

    assert answer.status == 400
    assert (answer.error["code"], answer.error["param"]) == ("context_length_exceeded", "messages")
    assert (
        f"This model's maximum context length is {CONTEXT_TOKENS} tokens. However, your messages"
        in answer.error["message"]
    )


def test_a_prompt_of_the_context_is_answered(server: ServerProcess):
    assert server.request("POST", CHAT, a_chat("a" * (CONTEXT_TOKENS - 20))).status == 200


def test_too_long_prompts_of_completions_and_batches_are_refused(client: OpenAI):
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="davinci-002", prompt="a" * (CONTEXT_CHARACTERS + 1))
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "prompt")

    lines = jsonl([a_request(1, body=a_chat("a" * 9 * MEGABYTE)), a_request(2, body=a_chat("hello"))])
    batch = end_of(client, start_batch(client, lines).id)

    error = results(client, batch.error_file_id)["request-1"]["response"]["body"]["error"]
    assert error["code"] == "context_length_exceeded"
    assert list(results(client, batch.output_file_id)) == ["request-2"]


@pytest.mark.parametrize("path", ["/v1/fine_tuning/jobs", "/openai/v1/batches"])
@pytest.mark.parametrize("values", [b"[]", b"1", b'"\\""', b'{"a":1}'])
def test_a_body_of_many_values_is_refused(server: ServerProcess, path: str, values: bytes):
    answer = server.request("POST", path, b'{"model":[' + b",".join([values] * (MAX_VALUES + 1)) + b"]}")

    assert (answer.status, answer.error["message"]) == (
        400,
        f"The request's body is made of too many JSON values: expected at most {MAX_VALUES}.",
    )


def test_signs_within_strings_are_not_values(server: ServerProcess):
    texts = ["[,{" * 60_000, '\\",\\\\"[' * 30_000]

    answer = server.request("POST", CHAT, a_chat(texts[0], user=texts[1]))

    assert answer.status == 200


def test_a_line_of_many_values_fails_its_batch_and_its_job(client: OpenAI):
    line = b'{"messages":[' + b"[]," * MAX_VALUES + b"[]]}\n"

    batch = end_of(client, start_batch(client, line).id)

    assert batch.errors
    assert batch.errors.data
    assert f"more than {MAX_VALUES} values" in str(batch.errors.data[0].message)


def test_work_ends_when_its_client_leaves(server: ServerProcess):
    # Hours of work, were it done.
    body = json.dumps({"model": "davinci-002", "prompt": ["a" * 3000 + str(n) for n in range(2048)]}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    connections = [send(server, head.encode(), body) for _ in range(12)]
    wait_for(lambda: in_flight(server) > len(connections), "the requests")

    for connection in connections:
        connection.close()

    wait_for(lambda: in_flight(server) == 1, "the end of the work")
    assert server.request("POST", CHAT, a_chat("hello")).status == 200


def test_one_callers_flood_does_not_keep_others_out(server: ServerProcess):
    costly = a_chat("a" * (CONTEXT_TOKENS - 100))
    ended: list[str] = []

    def ask(caller: str, body: dict[str, Any]) -> Answer:
        answer = server.request("POST", CHAT, body, {"Authorization": f"Bearer {caller}"})
        ended.append(caller)
        return answer

    with ThreadPoolExecutor(40) as pool:
        flood = [pool.submit(ask, "flood", {**costly, "user": str(number)}) for number in range(30)]
        wait_for(lambda: in_flight(server) > 20, "the flood")
        assert ask("other", a_chat("hello")).status == 200
        assert {one.result().status for one in flood} == {200}

    assert ended.index("other") < len(flood) - 1


@pytest.mark.parametrize("where", ["request", "message"])
def test_a_request_of_many_fields_is_refused(server: ServerProcess, where: str):
    fields = {f"field-{number}": number for number in range(50_000)}
    body = a_chat("hello", **(fields if where == "request" else {}))
    body["messages"][0] |= fields if where == "message" else {}

    assert server.request("POST", CHAT, body).status == 400


def test_examples_beyond_the_context_are_cut_and_said(client: OpenAI):
    short = json.loads(example_lines(1))["messages"]
    long = [*short, {"role": "user", "content": "é" * CONTEXT_CHARACTERS}, short[1]]
    lines = example_lines(10) + json.dumps({"messages": long}).encode()
    job = client.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=upload(client, lines).id, hyperparameters={"n_epochs": 1}
    )

    assert ended(client, job.id).status == "succeeded"
    assert any("1 example(s) of the training file are longer" in told for told in messages_on_record(client, job.id))
