"""Models under load: callers take turns, expensive requests are refused early, models are loaded once."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from batch_requests import a_request, end_of, jsonl, results, start_batch
from openai import OpenAI
from server_process import Answer, ServerProcess, ended, example_lines, messages_on_record, upload
from waiting import wait_for

from retune.server.errors import ApiError
from retune.server.fair_slots import FairSlots, Turn
from retune.server.generation.model_lookup import chat_model
from retune.server.json_input import MAX_VALUES
from retune.server.loaded_models import LoadedModels, Model
from retune.server.services import Services
from retune.server.settings import ServerSettings
from retune.trainers.conditional_lm.prompts import CONTEXT_CHARACTERS, CONTEXT_TOKENS
from retune.trainers.registry import default_trainer


class Line:
    """Callers in the order in which they got their slots."""

    def __init__(self, count: int = 1, **limits: Any) -> None:
        self.slots = FairSlots(count, **limits)
        self.granted: list[str] = []
        self.turns: dict[str, Turn] = {}

    def request(self, *names: str) -> None:
        for name in names:
            self.turns[name] = self.slots.request(name[0], partial(self._grant, name))

    def _grant(self, name: str, _turn: Turn) -> None:
        self.granted.append(name)

    def release(self, *names: str) -> None:
        for name in names:
            self.slots.release(self.turns[name])


def test_callers_take_turns() -> None:
    line = Line()
    line.request("a1", "a2", "a3", "b1", "c1", "b2")

    for number in range(6):
        line.release(line.granted[number])

    assert line.granted == ["a1", "a2", "b1", "c1", "a3", "b2"]


def test_a_withdrawn_request_gets_no_slot() -> None:
    line = Line()
    line.request("a1", "b1", "c1")

    line.slots.withdraw(line.turns["b1"])
    line.release("a1")

    assert line.granted == ["a1", "c1"]


def test_free_slots_are_granted_at_once() -> None:
    line = Line(2)

    line.request("a1", "a2", "a3")

    assert line.granted == ["a1", "a2"]


def test_long_work_yields_its_slot() -> None:
    line = Line(turn_seconds=0.0)
    line.request("a1")
    # It has the slot back once the other one's work is done, which is here as soon as it has it.
    line.turns["b1"] = line.slots.request("b", lambda _: None)
    with line.slots.time_sliced(line.turns["a1"], lambda: None) as checkpoint:
        line.turns["b1"].on_granted = lambda _: line.granted.append("b1")
        threading.Timer(0.05, lambda: line.release("b1")).start()
        checkpoint()
        assert line.granted == ["a1", "b1"]
        assert line.turns["a1"].is_granted


def test_a_caller_with_too_many_waiting_requests_is_refused() -> None:
    line = Line(max_waiting_per_caller=2, max_waiting=3)
    line.request("a1", "a2", "a3")

    with pytest.raises(ApiError) as refused:
        line.request("a4")
    line.request("b1")
    with pytest.raises(ApiError) as overloaded:
        line.request("c1")

    assert (refused.value.status, refused.value.body["error"]["code"]) == (429, "rate_limit_exceeded")
    assert overloaded.value.status == 503
    assert {error.value.headers["retry-after"] for error in (refused, overloaded)} == {"1"}


def test_a_caller_starts_a_limited_number_at_once() -> None:
    line = Line(2, max_started_per_caller=1)

    line.request("a1", "a2", "b1")

    assert line.granted == ["a1", "b1"]
    line.release("a1")
    assert line.granted == ["a1", "b1", "a2"]


CHECKPOINT = "jobs/a/epoch-0001"
FINE_TUNED = Model("ft:baseline-text:retune::a", 0, "retune", "baseline-text", CHECKPOINT)
BASE = Model("baseline-text", 0, "retune", "baseline-text", None)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    directory = tmp_path / CHECKPOINT
    directory.mkdir(parents=True)
    return directory


def test_a_model_is_cached_while_its_checkpoint_exists(tmp_path: Path, checkpoint: Path) -> None:
    models = LoadedModels(default_trainer())
    models.cache(FINE_TUNED)
    assert models.find_cached(FINE_TUNED.name, tmp_path) == FINE_TUNED

    checkpoint.rmdir()

    assert models.find_cached(FINE_TUNED.name, tmp_path) is None


def test_an_evicted_model_is_not_cached_even_if_its_checkpoint_remains(tmp_path: Path, checkpoint: Path) -> None:
    models = LoadedModels(default_trainer())
    models.cache(FINE_TUNED)

    models.evict(FINE_TUNED.name, checkpoint)

    assert models.find_cached(FINE_TUNED.name, tmp_path) is None


@pytest.mark.usefixtures("checkpoint")
def test_an_old_cache_entry_of_a_fine_tuned_model_is_not_used(tmp_path: Path) -> None:
    models = LoadedModels(default_trainer(), cache_seconds=0)
    for model in (FINE_TUNED, BASE):
        models.cache(model)

    assert models.find_cached(FINE_TUNED.name, tmp_path) is None
    # A base is never deleted.
    assert models.find_cached(BASE.name, tmp_path) == BASE


@pytest.mark.usefixtures("checkpoint")
def test_a_model_that_is_deleted_before_it_is_loaded_does_not_exist(tmp_path: Path) -> None:
    services = Services.open(ServerSettings(data_directory=tmp_path))
    try:
        services.loaded_models.cache(FINE_TUNED)
        with pytest.raises(ApiError) as caught:
            chat_model(services, FINE_TUNED.name)
    finally:
        services.close()

    assert (caught.value.status, caught.value.body["error"]["code"]) == (404, "model_not_found")


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
def test_a_request_with_too_large_a_head_is_refused(server: ServerProcess, head: bytes, status: int) -> None:
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
def test_hosts_are_compared_whole(server: ServerProcess, head: bytes, status: int) -> None:
    assert answer_to(server, head, b"Connection: close\r\n\r\n")[0] == status


@pytest.mark.parametrize("content", ["a" * 30 * MEGABYTE, "alpha beta " * 60_000, "é" * CONTEXT_TOKENS])
def test_a_prompt_beyond_the_context_is_refused(server: ServerProcess, content: str) -> None:
    answer = server.request("POST", CHAT, a_chat(content))

    assert answer.status == 400
    assert (answer.error["code"], answer.error["param"]) == ("context_length_exceeded", "messages")
    assert (
        f"This model's maximum context length is {CONTEXT_TOKENS} tokens. However, your messages"
        in answer.error["message"]
    )


def test_a_prompt_as_long_as_the_context_is_answered(server: ServerProcess) -> None:
    assert server.request("POST", CHAT, a_chat("a" * (CONTEXT_TOKENS - 20))).status == 200


def test_too_long_prompts_of_completions_and_batches_are_refused(client: OpenAI) -> None:
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
def test_a_body_of_many_values_is_refused(server: ServerProcess, path: str, values: bytes) -> None:
    answer = server.request("POST", path, b'{"model":[' + b",".join([values] * (MAX_VALUES + 1)) + b"]}")

    assert (answer.status, answer.error["message"]) == (
        400,
        f"The request's body is made of too many JSON values: expected at most {MAX_VALUES}.",
    )


def test_separators_within_strings_are_not_values(server: ServerProcess) -> None:
    texts = ["[,{" * 60_000, '\\",\\\\"[' * 30_000]

    answer = server.request("POST", CHAT, a_chat(texts[0], user=texts[1]))

    assert answer.status == 200


def test_a_line_of_many_values_fails_its_batch_and_its_job(client: OpenAI) -> None:
    line = b'{"messages":[' + b"[]," * MAX_VALUES + b"[]]}\n"

    batch = end_of(client, start_batch(client, line).id)

    assert batch.errors
    assert batch.errors.data
    assert f"more than {MAX_VALUES} values" in str(batch.errors.data[0].message)


def test_work_ends_when_its_client_disconnects(server: ServerProcess) -> None:
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


def test_one_callers_load_does_not_block_others(server: ServerProcess) -> None:
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
def test_a_request_of_many_fields_is_refused(server: ServerProcess, where: str) -> None:
    fields = {f"field-{number}": number for number in range(50_000)}
    body = a_chat("hello", **(fields if where == "request" else {}))
    body["messages"][0] |= fields if where == "message" else {}

    assert server.request("POST", CHAT, body).status == 400


def test_examples_beyond_the_context_are_cut_and_reported(client: OpenAI) -> None:
    short = json.loads(example_lines(1))["messages"]
    long = [*short, {"role": "user", "content": "é" * CONTEXT_CHARACTERS}, short[1]]
    lines = example_lines(10) + json.dumps({"messages": long}).encode()
    job = client.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=upload(client, lines).id, hyperparameters={"n_epochs": 1}
    )

    assert ended(client, job.id).status == "succeeded"
    assert any("1 example(s) of the training file are longer" in told for told in messages_on_record(client, job.id))
