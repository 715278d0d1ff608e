"""Batches whose server is killed, whose disk is full, whose files are gone: what was answered stays answered."""

import json
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from batch_requests import (
    ONE,
    SLOW,
    THREE,
    a_request,
    all_answered,
    counts,
    end_of,
    jsonl,
    slow,
    start_batch,
    wait_for_answers,
)
from disks import fill
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI
from server_process import ServerProcess, wait_for

from retune.server.batches.answering import unanswered
from retune.server.batches.requests import requests_of
from retune.server.batches.results import Journal, result_line


def journal_of(server: ServerProcess, batch_id: str) -> Path:
    return server.data_directory / "batches" / f"{batch_id}.jsonl"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_batch_goes_on_where_its_server_ended(start_server: Callable[..., ServerProcess], number: signal.Signals):
    total = 4000
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


def test_a_batch_without_its_file_fails_and_the_next_one_runs(client: OpenAI, server: ServerProcess):
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


def test_a_batch_waits_for_room_on_the_disk(small_disk: Path, start_server: Callable[..., ServerProcess]):
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
def test_a_journal_keeps_whole_lines_and_nothing_else(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
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
