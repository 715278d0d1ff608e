"""Exchanges that were recorded of the real service, sent again.

Errors must come back word for word. Successes are asked for about objects of this server that are like those of the
record; the answer must have every recorded field in the recorded form. What can't be repeated is in `NOT_REPEATED`,
with its reason, and shows as skipped.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import pytest
from contract import CONTRACT, events
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from server_process import Answer, ServerProcess, ended, example_lines, upload
from waiting import wait_for

Exchange = dict[str, Any]

NOT_REPEATED: list[tuple[Callable[[Exchange], bool], str]] = [
    (lambda e: "That model does not exist" in text_of(e), "an error text of February 2023; the later records differ"),
    (lambda e: e["status"] == 404 and "prompt" in request_of(e), "chat completions were not yet there in March 2023"),
    (lambda e: '"answers"' in text_of(e), "the purpose `answers` of 2021 is gone"),
    (lambda e: '"tool_calls"' in text_of(e), "the untrained base calls no tools"),
]

# Recorded fields that this server does not have.
GONE = {"permission": "of 2023; later records lack it", "root": "as permission", "parent": "as permission"}
# Everything else is the record's own: ids, times, and states that pass. In a list the objects are others.
EXACT = {"object", "deleted", "purpose", "filename", "bytes", "endpoint", "completion_window", "level", "type", "role"}
EXACT_IN_LISTS = {"object", "level", "type", "role"}
HEADERS_NOT_SENT = {"x-ratelimit-": "this server limits neither requests nor tokens per minute"}

MODEL = "gpt-4o-mini-2024-07-18"
SENTIMENT = (
    b'{"prompt":"Overjoyed with my new phone! ->", "completion":" positive"}\n'
    b'{"prompt":"@lakers disappoint for a third straight night ->", "completion":" negative"}\n'
)


def request_of(exchange: Exchange) -> str:
    return str(exchange.get("request_body") or "")


def text_of(exchange: Exchange) -> str:
    return json.dumps(exchange["response_body"])


def recorded() -> list[Exchange]:
    return [json.loads(line) for line in (CONTRACT / "recorded-exchanges.jsonl").read_text().splitlines()]


def reason_to_skip(exchange: Exchange) -> str | None:
    return next((reason for applies, reason in NOT_REPEATED if applies(exchange)), None)


def cases(*, failures: bool) -> list[Any]:
    return [
        pytest.param(
            exchange,
            id=f"{number} {exchange['method']} {exchange['path']}",
            marks=[pytest.mark.skip(reason=reason)] if (reason := reason_to_skip(exchange)) else [],
        )
        for number, exchange in enumerate(recorded())
        if (exchange["status"] >= 300) is failures
    ]


@dataclass
class Stage:
    """Objects like those of the record; each is made once it is asked for."""

    client: OpenAI
    succeeded: FineTuningJob

    def batch(self, exchange: Exchange) -> str:
        """A batch; one to cancel has enough to do, and for a further page there is an older one."""
        lines = 3000 if "cancel" in exchange["path"] else 1
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}
        head = {"method": "POST", "url": "/v1/chat/completions", "body": body}
        content = "\n".join(json.dumps({"custom_id": str(number), **head}) for number in range(lines))
        file = self.client.files.create(file=("batch.jsonl", content.encode()), purpose="batch")
        made = [self._new_batch(file.id) for _ in range(2 if "after" in exchange["path"] else 1)]
        return made[-1]

    def _new_batch(self, file: str) -> str:
        made = self.client.batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h")
        return made.id

    @cached_property
    def batch_file(self) -> str:
        return self.client.files.create(file=("batch.jsonl", b"{}\n"), purpose="batch").id

    def file_like(self, exchange: Exchange) -> str:
        """A file like the recorded one: its bytes where they are recorded, as many where they are not."""
        body = exchange["response_body"]
        if isinstance(body, str):
            return upload(self.client, body.encode(), "sentiment.jsonl").id
        if "filename" not in body:
            return upload(self.client, SENTIMENT, "sentiment.jsonl").id
        content = b" " * body["bytes"]
        return self.client.files.create(file=(body["filename"], content), purpose=body["purpose"]).id

    def job(self, exchange: Exchange) -> str:
        if "cancel" not in exchange["path"]:
            return self.succeeded.id
        return self.client.fine_tuning.jobs.create(model=MODEL, training_file=self.succeeded.training_file).id

    def model(self, exchange: Exchange) -> str:
        if exchange["method"] != "DELETE":
            return MODEL
        file = upload(self.client, example_lines(10)).id
        job = self.client.fine_tuning.jobs.create(model=MODEL, training_file=file, hyperparameters={"n_epochs": 1})
        return str(ended(self.client, job.id).fine_tuned_model)


@pytest.fixture(scope="module")
def stage(server: ServerProcess, succeeded: FineTuningJob) -> Stage:
    return Stage(server.client(), succeeded)


def same_request(stage: Stage, exchange: Exchange) -> tuple[str, bytes | None, dict[str, str]]:
    """The recorded request with ids of this server: its path, body and headers."""
    path = exchange["path"]
    if exchange["method"] == "POST" and path == "/v1/files":
        return path, *form(exchange["response_body"])
    path = re.sub(r"file-\w{20,}", lambda _: stage.file_like(exchange), path)
    path = re.sub(r"ftjob-\w{20,}", lambda _: stage.job(exchange), path)
    path = re.sub(r"batch_\w{20,}", lambda _: stage.batch(exchange), path)
    path = re.sub(r"(?<=/models/)[^?]+", lambda _: stage.model(exchange), path)
    body = request_of(exchange)
    body = re.sub(r'(?<="input_file_id":")[^"]+', lambda _: stage.batch_file, body)
    body = re.sub(r'(?<="training_file":")[^"]+', lambda _: stage.succeeded.training_file, body)
    body = re.sub(r'(?<="model":")gpt-3.5[^"]+', MODEL, body)
    return path, body.encode() or None, {}


def form(file: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The form that must have made a recorded file."""
    head = '--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
    head += '--b\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
    body = head.format(**file).encode() + b" " * file["bytes"] + b"\r\n--b--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=b"}


def departures(recorded: Any, answered: Any, where: str = "$", exact: set[str] = EXACT) -> Iterator[str]:
    """Where an answer lacks what the record has, or has it in another form."""
    if isinstance(recorded, dict) and isinstance(answered, dict):
        for key in recorded.keys() - GONE.keys():
            if key not in answered:
                yield f"{where}.{key} is missing"
            elif key in exact and recorded[key] != answered[key]:
                yield f"{where}.{key} is {answered[key]!r}, recorded {recorded[key]!r}"
            else:
                yield from departures(recorded[key], answered[key], f"{where}.{key}", exact)
    elif isinstance(recorded, list) and isinstance(answered, list):
        for pair in zip(recorded[:1], answered[:1], strict=False):
            yield from departures(*pair, f"{where}[0]", EXACT_IN_LISTS)
    elif recorded is not None and answered is not None and kind(recorded) is not kind(answered):
        yield f"{where} is {answered!r}, recorded {recorded!r}"


def kind(value: Any) -> type:
    # "auto" becomes a number once a job runs, and a number may have a fraction.
    return float if value == "auto" or type(value) is int else type(value)


def check_headers(exchange: Exchange, answer: Answer) -> None:
    expected = exchange["response_headers"]
    not_sent = tuple(HEADERS_NOT_SENT)
    assert {name for name in expected if not name.startswith(not_sent)} <= set(answer.headers)
    assert answer.headers["openai-version"] == expected["openai-version"]
    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])
    assert re.fullmatch(r"\d+", answer.headers["openai-processing-ms"])
    if "content-type" in expected:
        assert answer.headers["content-type"].partition(";")[0] == expected["content-type"]
    if "content-disposition" in expected:
        assert answer.headers["content-disposition"] == expected["content-disposition"]


def send(server: ServerProcess, exchange: Exchange, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
    answer = server.request(exchange["method"], path, body, headers)
    assert answer.status == exchange["status"], answer.content
    check_headers(exchange, answer)
    return answer


@pytest.mark.parametrize("exchange", cases(failures=False))
def test_a_recorded_success_repeats(server: ServerProcess, stage: Stage, exchange: Exchange) -> None:
    answer = send(server, exchange, *same_request(stage, exchange))

    record = exchange["response_body"]
    if answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.content.endswith(b"data: [DONE]\n\n")
        pairs = list(zip(events(record.encode()), events(answer.content), strict=False))
        assert [list(departures(*pair)) for pair in (pairs[0], pairs[1])] == [[], []]
    elif isinstance(record, str):
        assert answer.content == record.encode()
    else:
        assert list(departures(record, answer.json)) == []


@pytest.fixture
def full(start_server: Callable[..., ServerProcess]) -> ServerProcess:
    """A server as full as the recorded organization was: two jobs run, and one waits."""
    server = start_server("--max-concurrent-jobs", "2", "--max-queued-jobs", "1")
    client = server.client()
    file = upload(client, example_lines(2000)).id
    for running in (1, 2, 2):
        client.fine_tuning.jobs.create(model=MODEL, training_file=file, hyperparameters={"n_epochs": 50})
        wait_for(lambda: statuses(client).count("running") >= running, f"{running} running jobs")  # noqa: B023  # at once
    return server


def statuses(client: OpenAI) -> list[str]:
    return [job.status for job in client.fine_tuning.jobs.list()]


@pytest.mark.parametrize("exchange", cases(failures=True))
def test_a_recorded_failure_repeats_word_by_word(request: pytest.FixtureRequest, exchange: Exchange) -> None:
    if exchange["status"] == 429:
        return check_full(request.getfixturevalue("full"), exchange)
    if exchange["status"] == 401:
        return check_key(request.getfixturevalue("start_server"), exchange)
    server: ServerProcess = request.getfixturevalue("server")
    answer = send(server, exchange, exchange["path"], request_of(exchange).encode() or None, {})
    if answer.status == 307:
        assert urlsplit(answer.headers["location"]).path == urlsplit(exchange["response_headers"]["location"]).path
    else:
        assert answer.json == exchange["response_body"]
    return None


def check_full(server: ServerProcess, exchange: Exchange) -> None:
    file = server.client().fine_tuning.jobs.list().data[0].training_file
    answer = send(server, exchange, exchange["path"], json.dumps({"model": MODEL, "training_file": file}).encode(), {})
    old_model = json.loads(request_of(exchange))["model"]
    assert answer.json == json.loads(text_of(exchange).replace(old_model, MODEL))
    assert "retry-after" not in answer.headers


def check_key(start_server: Callable[..., ServerProcess], exchange: Exchange) -> None:
    server = start_server(RETUNE_SERVER_API_KEY="sk-the-right-key")
    answer = send(server, exchange, exchange["path"], b"", {"Authorization": "Bearer sk-a-wrong-key"})
    # The record hides the key that was shown; the service shows its ends.
    shown = re.sub(r"provided: \S+\. You", "provided: <OPENAI_ACCESS_TOKEN>. You", answer.error["message"])
    assert {"error": {**answer.error, "message": shown}} == exchange["response_body"]


def test_few_recorded_exchanges_are_skipped() -> None:
    reasons = [reason for exchange in recorded() if (reason := reason_to_skip(exchange))]
    assert set(reasons) == {reason for _, reason in NOT_REPEATED}
    assert len(reasons) <= 7
    assert len(recorded()) >= 65
