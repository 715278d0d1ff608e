"""Files of batches: which input is refused, and what survives a killed server or a full disk."""

import json
import os
import signal
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from batch_requests import (
    CHAT,
    ONE,
    SLOW,
    THREE,
    a_request,
    all_answered,
    asking,
    counts,
    end_of,
    jsonl,
    results,
    slow,
    start_batch,
    wait_for_answers,
)
from disks import fill
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI
from server_process import ServerProcess
from waiting import wait_for

from retune.server.batches.answering import unanswered
from retune.server.batches.requests import CheckedInput, InvalidInputError, check_input_file, requests_of
from retune.server.batches.results import Journal, result_line
from retune.training_lines.keys import MAX_LINE_BYTES


def test_blank_lines_and_all_line_ends_are_accepted(client: OpenAI) -> None:
    lines = [json.dumps(a_request(number)).encode() for number in range(3)]
    content = b"\xef\xbb\xbf" + lines[0] + b"\r\n\r\n" + lines[1] + b"\n  \n" + lines[2]

    batch = end_of(client, start_batch(client, content).id)

    assert (batch.status, counts(batch)) == ("completed", (3, 3, 0))


def test_an_id_may_be_any_text(client: OpenAI) -> None:
    names = ["", "ü 漢字 🙂", "\0", "\ud800", "x" * 5000, '"\\\n']
    requests = [a_request(number, custom_id=name) for number, name in enumerate(names)]

    batch = end_of(client, start_batch(client, jsonl(requests)).id)

    assert set(results(client, batch.output_file_id)) == set(names)


@pytest.mark.parametrize(
    ("lines", "errors"),
    [
        ([], [("empty_file", None, None)]),
        (["", "  "], [("empty_file", None, None)]),
        (["not json"], [("invalid_json_line", None, 1)]),
        ([a_request(1), "[1]"], [("invalid_json_line", None, 2)]),
        ([a_request(1), '{"custom_id": NaN}'], [("invalid_json_line", None, 2)]),
        (["[" * 100_000], [("invalid_json_line", None, 1)]),
        ([a_request(1), "", a_request(1)], [("duplicate_custom_id", "custom_id", 3)]),
        ([a_request(1, url="/v1/completions")], [("url_mismatch", "url", 1)]),
        ([a_request(1), asking(2, model="gpt-4o")], [("model_mismatch", "body.model", 2)]),
        (
            ["{}"],
            [("missing_required_parameter", name, 1) for name in ("custom_id", "method", "url", "body")],
        ),
        (
            [{"custom_id": 1, "method": [], "url": {}, "body": "x"}],
            [("invalid_type", name, 1) for name in ("custom_id", "method", "url", "body")],
        ),
        ([a_request(1, body={})], [("missing_required_parameter", "body.model", 1)]),
        ([a_request(1, method="GET")], [("invalid_value", "method", 1)]),
        (
            [a_request(1), "{", a_request(1, url="x"), asking(4, model="\ud800")],
            [
                ("invalid_json_line", None, 2),
                ("duplicate_custom_id", "custom_id", 3),
                ("url_mismatch", "url", 3),
                ("model_mismatch", "body.model", 4),
            ],
        ),
        (["{"] * 150, [("invalid_json_line", None, line) for line in range(1, 101)]),
    ],
)
def test_all_errors_of_an_input_file_are_reported(client: OpenAI, lines: list[Any], errors: list[Any]) -> None:
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]

    batch = end_of(client, start_batch(client, "\n".join(text).encode()).id)

    assert (batch.status, counts(batch)) == ("failed", (0, 0, 0))
    assert (batch.output_file_id, batch.error_file_id, batch.in_progress_at) == (None, None, None)
    assert batch.failed_at
    assert batch.errors
    assert batch.errors.data
    assert [(error.code, error.param, error.line) for error in batch.errors.data] == errors
    assert all(error.message for error in batch.errors.data)


def test_a_file_may_hold_50000_requests_and_no_more(client: OpenAI, tmp_path: Path) -> None:
    line = '{"custom_id":"%d","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}\n'
    content = "".join(line % number for number in range(50_000))
    (tmp_path / "most").write_text(content)
    assert check_input_file(tmp_path / "most", CHAT, lambda: False) == CheckedInput(50_000, "m")
    made = start_batch(client, (content + line % 50_000).encode())

    batch = end_of(client, made.id)

    assert batch.errors
    assert batch.errors.data
    assert [error.code for error in batch.errors.data] == ["too_many_tasks"]
    assert "50000" in str(batch.errors.data[0].message)


def test_the_length_of_a_line_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"x" * (MAX_LINE_BYTES * 2 + 10) + b"\n" + ONE)

    with pytest.raises(InvalidInputError, match=f"it is longer than {MAX_LINE_BYTES} bytes") as caught:
        check_input_file(path, CHAT, lambda: False)

    assert [error["line"] for error in caught.value.errors] == [1]


def test_thousands_of_errors_in_one_request_get_one_short_answer(client: OpenAI) -> None:
    requests = [asking(1, **dict.fromkeys(map(str, range(3000)), 1)), asking(2, messages=[1] * 3000)]

    batch = end_of(client, start_batch(client, jsonl(requests)).id)

    lines = results(client, batch.error_file_id)
    assert [lines[f"request-{number}"]["response"]["status_code"] for number in (1, 2)] == [400, 400]
    assert all(len(json.dumps(line)) < 600 for line in lines.values())


@pytest.mark.parametrize(
    ("options", "param", "words"),
    [
        ({"endpoint": "/v1/embeddings"}, "endpoint", "'/v1/embeddings' are not supported by this server"),
        ({"endpoint": "/v1/chat"}, "endpoint", "expected '/v1/chat/completions' or '/v1/completions'"),
        ({"completion_window": "48h"}, "completion_window", "24h"),
        ({"input_file_id": "file-none"}, "input_file_id", "invalid input_file_id: file-none"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata", "at most 16"),
        ({"metadata": {"a": 1}}, "metadata.a", "string"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 60}}, "output_expires_after.seconds", "3600"),
        ({"extra_body": {"priority": 1}}, "priority", "Unknown parameter: 'priority'."),
    ],
)
def test_a_request_that_can_not_be_honoured_is_refused(client: OpenAI, options: Any, param: str, words: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        start_batch(client, ONE, **options)

    assert caught.value.param == param
    assert words in caught.value.message


def test_a_file_of_another_purpose_is_refused(client: OpenAI) -> None:
    file = client.files.create(file=("requests.jsonl", jsonl([a_request(1)])), purpose="user_data")

    with pytest.raises(openai.BadRequestError, match="it must be 'batch'"):
        start_batch(client, ONE, input_file_id=file.id)


@given(st.lists(st.binary(max_size=30) | st.sampled_from([jsonl([a_request(number)])[:-1] for number in range(4)])))
def test_any_input_file_is_answered_or_refused(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / f"input-{os.getpid()}"
    path.write_bytes(b"\n".join(lines))
    with suppress(InvalidInputError):
        checked = check_input_file(path, CHAT, lambda: False)
        assert checked.total == len({request.custom_id for request in requests_of(path)})


def journal_of(server: ServerProcess, batch_id: str) -> Path:
    return server.data_directory / "batches" / f"{batch_id}.jsonl"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_batch_resumes_where_its_server_was_killed(
    start_server: Callable[..., ServerProcess], number: signal.Signals
) -> None:
    total = 1500
    server = start_server()
    batch = start_batch(server.client(), jsonl(map(slow, range(total))))
    seen = wait_for_answers(server.client(), batch.id)

    server.end(number)

    lines = [line for line in journal_of(server, batch.id).read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"]
    assert counts(seen)[1] <= len(lines) < total
    with journal_of(server, batch.id).open("ab") as journal:
        journal.write(b'{"id":"batch_req_1","custom_id":"request-')
    client = start_server().client()
    assert all_answered(client, batch.id, total)[: len(lines)] == lines
    assert not journal_of(server, batch.id).exists()


def test_a_batch_without_its_file_fails_and_the_next_one_runs(client: OpenAI, server: ServerProcess) -> None:
    running = [start_batch(client, SLOW) for _ in range(2)]
    broken = start_batch(client, THREE)
    wait_for(lambda: client.batches.retrieve(broken.id).status == "in_progress", "the check of the file")
    (server.data_directory / "files" / broken.input_file_id).unlink()
    for batch in running:
        client.batches.cancel(batch.id)

    batch = end_of(client, broken.id)

    assert batch.status == "failed"
    assert batch.errors
    assert batch.errors.data
    assert [error.code for error in batch.errors.data] == ["server_error"]
    assert str(server.data_directory) not in str(batch.errors.data[0].message)
    assert end_of(client, start_batch(client, ONE).id).status == "completed"


@pytest.mark.slow
def test_a_batch_waits_for_disk_space(small_disk: Path, start_server: Callable[..., ServerProcess]) -> None:
    total = 1500
    log = small_disk.with_name("log")
    server = start_server("--log-file", str(log), data_directory=small_disk / "data")
    client = server.client()
    batch = start_batch(client, jsonl(map(slow, range(total))))
    wait_for_answers(client, batch.id)
    ballast = fill(small_disk, leave=12 << 20)
    wait_for(lambda: "Batches are delayed: [Errno 28]" in log.read_text(), "the full disk to be met")
    assert client.batches.retrieve(batch.id).status in {"in_progress", "finalizing"}

    ballast.unlink()

    all_answered(client, batch.id, total)
    assert server.end(signal.SIGTERM) == 0


@settings(deadline=None, max_examples=40)  # the disk takes its time
@given(st.data())
def test_a_journal_keeps_whole_lines_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    (directory / "input").write_bytes(jsonl(map(a_request, range(6))))
    requests = list(requests_of(directory / "input"))
    lines = [result_line(unanswered(request, "code", "message")) for request in requests]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    rest = data.draw(st.binary(max_size=40) | st.sampled_from(lines))
    (directory / "journal").write_bytes(whole[:cut] + rest)

    with closing(Journal(directory / "journal", requests)) as journal:
        for request in requests[journal.tally.answered :]:
            journal.append(unanswered(request, "code", "again"))

    kept = (directory / "journal").read_bytes().splitlines(keepends=True)
    n_whole = whole[:cut].count(b"\n")
    assert kept[:n_whole] == lines[:n_whole]
    assert [json.loads(line)["custom_id"] for line in kept] == [request.custom_id for request in requests]
    with closing(Journal(directory / "journal", requests)) as journal:
        assert journal.tally.answered == len(requests)
