import base64
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI, OpenAI
from openai.types import Batch
from server_process import ServerProcess, wait_for
from webhook_receiver import Receiver, webhook_receivers

from retune.server.batches.answering import unanswered
from retune.server.batches.input_file import InvalidInputError, check_input_file, requests_of
from retune.server.batches.journal import Journal, result_line

CHAT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
MODEL = "gpt-4o-mini-2024-07-18"
SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
ENDED = {"completed", "failed", "expired", "cancelled"}
# More than is answered before the tests cut in.
MANY = 3000


def a_request(number: int, **changes: Any) -> dict[str, Any]:
    body = {"model": MODEL, "messages": [{"role": "user", "content": f"question {number}"}], "temperature": 0}
    return {"custom_id": f"request-{number}", "method": "POST", "url": CHAT, "body": body, **changes}


def asking(number: int, **fields: Any) -> dict[str, Any]:
    request = a_request(number)
    return {**request, "body": {**request["body"], **fields}}


def slow(number: int) -> dict[str, Any]:
    return asking(number, n=40, temperature=1)


def jsonl(requests: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests)


ONE = jsonl([a_request(1)])
THREE = jsonl(map(a_request, range(3)))
SLOW = jsonl(map(slow, range(MANY)))


def start_batch(client: OpenAI, content: bytes, **options: Any) -> Batch:
    file = client.files.create(file=("requests.jsonl", content), purpose="batch")
    return client.batches.create(**{"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **options})


def end_of(client: OpenAI, batch_id: str) -> Batch:
    def look() -> Batch | None:
        batch = client.batches.retrieve(batch_id)
        return batch if batch.status in ENDED else None

    batch = wait_for(look, f"the end of {batch_id}")
    assert isinstance(batch, Batch)
    return batch


def wait_for_answers(client: OpenAI, batch_id: str, count: int = 1) -> Batch:
    def look() -> Batch | None:
        batch = client.batches.retrieve(batch_id)
        assert batch.status in {"validating", "in_progress"}
        return batch if batch.request_counts and batch.request_counts.completed >= count else None

    batch = wait_for(look, f"{count} answers of {batch_id}")
    assert isinstance(batch, Batch)
    return batch


def results(client: OpenAI, file_id: str | None) -> dict[str, Any]:
    """The lines of a result file by their custom_id, each of which comes once."""
    if file_id is None:
        return {}
    lines = [json.loads(line) for line in client.files.content(file_id).content.splitlines()]
    assert len({line["custom_id"] for line in lines}) == len({line["id"] for line in lines}) == len(lines)
    assert all(set(line) == {"id", "custom_id", "response", "error"} for line in lines)
    assert all(line["id"].startswith("batch_req_") for line in lines)
    return {line["custom_id"]: line for line in lines}


def counts(batch: Batch) -> tuple[int, int, int]:
    assert batch.request_counts
    return batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed


def test_what_goes_well_and_what_does_not_lie_in_two_files(client: OpenAI):
    requests = [
        a_request(1),
        asking(2, temperature=3),
        asking(3, n=2),
        asking(4, stream=True),
        asking(5, top_k=5),
        asking(6, messages=[]),
    ]
    made = start_batch(client, jsonl(requests), metadata={"made": "for a test"})
    assert (made.status, made.metadata, counts(made)) == ("validating", {"made": "for a test"}, (0, 0, 0))
    assert made.expires_at == made.created_at + 86400

    batch = end_of(client, made.id)

    assert (batch.status, batch.errors, batch.model, counts(batch)) == ("completed", None, MODEL, (6, 2, 4))
    times = [batch.created_at, batch.in_progress_at, batch.finalizing_at, batch.completed_at]
    assert times == sorted(times)  # type: ignore[type-var]
    assert (batch.failed_at, batch.expired_at, batch.cancelling_at, batch.cancelled_at) == (None, None, None, None)
    good, bad = results(client, batch.output_file_id), results(client, batch.error_file_id)
    assert set(good) == {"request-1", "request-3"}
    assert all((line["response"]["status_code"], line["error"]) == (200, None) for line in good.values())
    assert all(line["response"]["request_id"].startswith("req_") for line in good.values())
    direct = client.chat.completions.create(**requests[0]["body"])
    answer = good["request-1"]["response"]["body"]
    assert answer["choices"] == direct.to_dict()["choices"]
    assert len(good["request-3"]["response"]["body"]["choices"]) == 2
    usages = [line["response"]["body"]["usage"] for line in good.values()]
    assert batch.usage
    assert batch.usage.input_tokens == sum(usage["prompt_tokens"] for usage in usages)
    assert batch.usage.output_tokens == sum(usage["completion_tokens"] for usage in usages)
    assert batch.usage.total_tokens == sum(usage["total_tokens"] for usage in usages)
    params = {name: line["response"]["body"]["error"]["param"] for name, line in bad.items()}
    assert params == {
        "request-2": "temperature",
        "request-4": "stream",
        "request-5": "top_k",
        "request-6": "messages",
    }
    assert all((line["response"]["status_code"], line["error"]) == (400, None) for line in bad.values())


def test_the_result_files_are_files_like_others(client: OpenAI):
    batch = start_batch(client, ONE, output_expires_after={"anchor": "created_at", "seconds": 7200})
    batch = end_of(client, batch.id)

    assert batch.output_file_id
    file = client.files.retrieve(batch.output_file_id)
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    assert file.bytes == len(client.files.content(file.id).content)
    assert file.expires_at == file.created_at + 7200
    assert batch.error_file_id is None
    assert client.files.delete(file.id).deleted


def test_a_batch_without_one_good_answer_is_completed_all_the_same(client: OpenAI):
    batch = end_of(client, start_batch(client, jsonl([asking(1, model="nobody"), asking(2, model="nobody")])).id)

    assert (batch.status, batch.output_file_id, batch.model, counts(batch)) == ("completed", None, "nobody", (2, 0, 2))
    codes = [line["response"]["body"]["error"]["code"] for line in results(client, batch.error_file_id).values()]
    assert codes == ["model_not_found"] * 2
    assert batch.usage
    assert batch.usage.total_tokens == 0


def test_blank_lines_and_line_ends_of_all_kinds_are_taken(client: OpenAI):
    lines = [json.dumps(a_request(number)).encode() for number in range(3)]
    content = b"\xef\xbb\xbf" + lines[0] + b"\r\n\r\n" + lines[1] + b"\n  \n" + lines[2]

    batch = end_of(client, start_batch(client, content).id)

    assert (batch.status, counts(batch)) == ("completed", (3, 3, 0))


def test_an_id_may_be_any_text(client: OpenAI):
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
def test_all_that_is_wrong_with_a_file_is_told(client: OpenAI, lines: list[Any], errors: list[Any]):
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]

    batch = end_of(client, start_batch(client, "\n".join(text).encode()).id)

    assert (batch.status, counts(batch)) == ("failed", (0, 0, 0))
    assert (batch.output_file_id, batch.error_file_id, batch.in_progress_at) == (None, None, None)
    assert batch.failed_at
    assert batch.errors
    assert batch.errors.data
    assert [(error.code, error.param, error.line) for error in batch.errors.data] == errors
    assert all(error.message for error in batch.errors.data)


def test_a_file_may_hold_50000_requests(client: OpenAI):
    line = '{"custom_id":"%d","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}'
    made = start_batch(client, "\n".join(line % number for number in range(50_001)).encode())

    batch = end_of(client, made.id)

    assert batch.errors
    assert batch.errors.data
    assert [error.code for error in batch.errors.data] == ["too_many_tasks"]
    assert "50000" in str(batch.errors.data[0].message)


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
        ({"extra_body": {"priority": 1}}, "priority", "Unrecognized request argument supplied: priority"),
    ],
)
def test_a_request_that_can_not_be_honoured_is_refused(client: OpenAI, options: Any, param: str, words: str):
    with pytest.raises(openai.BadRequestError) as caught:
        start_batch(client, ONE, **options)

    assert caught.value.param == param
    assert words in caught.value.message


def test_a_file_of_another_purpose_is_refused(client: OpenAI):
    file = client.files.create(file=("requests.jsonl", jsonl([a_request(1)])), purpose="user_data")

    with pytest.raises(openai.BadRequestError, match="it must be 'batch'"):
        start_batch(client, ONE, input_file_id=file.id)


def test_a_create_that_is_sent_again_makes_no_second_batch(client: OpenAI):
    key = {"Idempotency-Key": "a batch of its own"}
    first = start_batch(client, ONE, extra_headers=key)

    again = client.batches.create(
        input_file_id=first.input_file_id, endpoint=CHAT, completion_window="24h", extra_headers=key
    )

    assert again.id == first.id
    other = client.batches.create(input_file_id=first.input_file_id, endpoint=CHAT, completion_window="24h")
    assert other.id != first.id


def test_batches_are_listed_newest_first(client: OpenAI):
    made = [start_batch(client, ONE).id for _ in range(5)][::-1]

    page = client.batches.list(limit=2)
    assert [batch.id for batch in page.data] == made[:2]
    assert page.has_more
    assert (page.first_id, page.last_id) == (made[0], made[1])  # type: ignore[attr-defined]
    listed = [batch.id for batch in client.batches.list(limit=2)]
    assert listed[:5] == made
    assert len(set(listed)) == len(listed)
    assert [batch.id for batch in client.batches.list(after=made[3], limit=1).data] == made[4:]


@pytest.mark.parametrize(
    ("options", "param"), [({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"after": "batch_none"}, "after")]
)
def test_a_list_has_its_bounds(client: OpenAI, options: Any, param: str):
    with pytest.raises(openai.BadRequestError) as caught:
        client.batches.list(**options)

    assert caught.value.param == param


def test_there_is_no_batch_of_that_name(client: OpenAI):
    for ask in (client.batches.retrieve, client.batches.cancel):
        with pytest.raises(openai.NotFoundError, match="No batch found with id 'batch_none'"):
            ask("batch_none")


def test_a_batch_that_has_ended_can_not_be_cancelled(client: OpenAI):
    batch = end_of(client, start_batch(client, ONE).id)

    with pytest.raises(openai.ConflictError) as caught:
        client.batches.cancel(batch.id)

    assert caught.value.message.endswith("Cannot cancel a batch with status 'completed'.")
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_cancelled_batch_keeps_what_was_answered(client: OpenAI):
    running = start_batch(client, SLOW)
    waiting = start_batch(client, THREE)
    before = wait_for_answers(client, running.id)
    with pytest.raises(openai.ConflictError, match=f"in use by the batch {running.id}"):
        client.files.delete(running.input_file_id)

    assert client.batches.cancel(running.id).status in {"cancelling", "cancelled"}

    batch = end_of(client, running.id)
    assert batch.status == "cancelled"
    assert (batch.cancelling_at or 0) <= (batch.cancelled_at or -1)
    good, bad = results(client, batch.output_file_id), results(client, batch.error_file_id)
    assert counts(batch) == (MANY, len(good), len(bad))
    assert counts(before)[1] <= len(good) < MANY
    assert set(good) | set(bad) == {f"request-{number}" for number in range(MANY)}
    assert {(line["response"], line["error"]["code"]) for line in bad.values()} == {(None, "batch_cancelled")}
    assert end_of(client, waiting.id).status == "completed"
    assert client.files.delete(running.input_file_id).deleted


def test_a_batch_that_waits_is_cancelled_at_once(client: OpenAI):
    running = start_batch(client, SLOW)
    waiting = start_batch(client, THREE)
    wait_for(lambda: client.batches.retrieve(waiting.id).status == "in_progress", "the check of the file")

    client.batches.cancel(waiting.id)

    batch = end_of(client, waiting.id)
    assert (batch.status, counts(batch), batch.output_file_id) == ("cancelled", (3, 0, 3), None)
    assert client.batches.retrieve(running.id).status == "in_progress"
    client.batches.cancel(running.id)
    assert end_of(client, running.id).status == "cancelled"


def journal_of(server: ServerProcess, batch_id: str) -> Path:
    return server.data_directory / "batches" / f"{batch_id}.jsonl"


def all_answered(client: OpenAI, batch_id: str, total: int) -> list[bytes]:
    batch = end_of(client, batch_id)
    assert (batch.status, counts(batch)) == ("completed", (total, total, 0))
    assert set(results(client, batch.output_file_id)) == {f"request-{number}" for number in range(total)}
    assert batch.output_file_id
    return client.files.content(batch.output_file_id).content.splitlines(keepends=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_batch_goes_on_where_its_server_ended(start_server: Callable[..., ServerProcess], number: signal.Signals):
    total = 600
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
    running = start_batch(client, SLOW)
    broken = start_batch(client, THREE)
    wait_for(lambda: client.batches.retrieve(broken.id).status == "in_progress", "the check of the file")
    (server.data_directory / "files" / broken.input_file_id).unlink()
    client.batches.cancel(running.id)

    batch = end_of(client, broken.id)

    assert batch.status == "failed"
    assert batch.errors
    assert batch.errors.data
    assert [error.code for error in batch.errors.data] == ["server_error"]
    assert str(server.data_directory) not in str(batch.errors.data[0].message)
    assert end_of(client, start_batch(client, ONE).id).status == "completed"


def test_what_is_not_answered_in_time_expires(start_server: Callable[..., ServerProcess]):
    server = start_server()
    client = server.client()
    running, waiting = start_batch(client, SLOW), start_batch(client, THREE)
    wait_for_answers(client, running.id)
    server.end(signal.SIGKILL)
    database = sqlite3.connect(server.data_directory / "server.sqlite")
    database.execute("UPDATE batches SET expires_at = created_at")
    database.commit()
    database.close()

    client = start_server().client()

    batch = end_of(client, running.id)
    assert (batch.status, batch.completed_at, batch.cancelled_at) == ("expired", None, None)
    assert batch.expired_at
    good, bad = results(client, batch.output_file_id), results(client, batch.error_file_id)
    assert set(good) | set(bad) == {f"request-{number}" for number in range(MANY)}
    assert counts(batch) == (MANY, len(good), len(bad))
    assert {(line["response"], line["error"]["code"]) for line in bad.values()} == {(None, "batch_expired")}
    assert counts(end_of(client, waiting.id)) == (3, 0, 3)


def test_legacy_completions_come_in_batches_too(client: OpenAI):
    endpoint: Literal["/v1/completions"] = "/v1/completions"
    body = {"model": "davinci-002", "prompt": "once", "max_tokens": 3, "temperature": 0}
    requests = [a_request(1, url=endpoint, body=body), a_request(2, url=endpoint, body={**body, "suffix": "!"})]

    batch = end_of(client, start_batch(client, jsonl(requests), endpoint=endpoint).id)

    assert (batch.status, counts(batch)) == ("completed", (2, 1, 1))
    direct = client.completions.create(**body)  # type: ignore[call-overload]
    answer = results(client, batch.output_file_id)["request-1"]["response"]["body"]
    assert answer["choices"] == direct.to_dict()["choices"]
    refusal = results(client, batch.error_file_id)["request-2"]["response"]
    assert (refusal["status_code"], refusal["body"]["error"]["param"]) == (400, "suffix")


def test_each_end_of_a_batch_is_told(start_server: Callable[..., ServerProcess]):
    with webhook_receivers() as receivers:
        receivers.append(Receiver().listen())
        server = start_server("--webhook-url", receivers[0].url, RETUNE_SERVER_WEBHOOK_SECRET=SECRET)
        client = server.client()
        ends = {"batch.cancelled": start_batch(client, SLOW).id}
        client.batches.cancel(ends["batch.cancelled"])
        ends |= {"batch.completed": start_batch(client, ONE).id, "batch.failed": start_batch(client, b"").id}

        events = [
            client.webhooks.unwrap(received.body, received.headers, secret=SECRET)
            for received in receivers[0].wait_for_requests(3)
        ]

    assert {event.type: event.data.id for event in events} == ends  # type: ignore[union-attr]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(mount)]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"a small disk can't be mounted here: {made.stderr.decode().strip()}")
    yield mount
    subprocess.run(["umount", "--lazy", mount], check=True)


def test_a_batch_waits_for_room_on_the_disk(small_disk: Path, start_server: Callable[..., ServerProcess]):
    total = 400
    log = small_disk.with_name("log")
    server = start_server("--log-file", str(log), data_directory=small_disk / "data")
    client = server.client()
    batch = start_batch(client, jsonl(map(slow, range(total))))
    wait_for_answers(client, batch.id)
    disk = os.statvfs(small_disk)
    ballast = small_disk / "ballast"
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, disk.f_bavail * disk.f_frsize - (12 << 20))
    wait_for(lambda: "Batches wait: [Errno 28]" in log.read_text(), "the full disk to be met")
    assert client.batches.retrieve(batch.id).status in {"in_progress", "finalizing"}

    ballast.unlink()

    all_answered(client, batch.id, total)
    assert server.end(signal.SIGTERM) == 0


async def test_the_async_client_gets_the_same(server: ServerProcess):
    async with AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0) as client:
        file = await client.files.create(file=("requests.jsonl", jsonl([a_request(1)])), purpose="batch")
        made = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")

        batch = end_of(server.client(), made.id)

        assert await client.batches.retrieve(made.id) == batch
        assert batch.id in [each.id async for each in client.batches.list()]
        assert batch.output_file_id
        assert b'"request-1"' in (await client.files.content(batch.output_file_id)).content


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


@given(st.lists(st.binary(max_size=30) | st.sampled_from([jsonl([a_request(number)])[:-1] for number in range(4)])))
def test_whatever_is_uploaded_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]):
    path = tmp_path_factory.getbasetemp() / f"input-{os.getpid()}"
    path.write_bytes(b"\n".join(lines))
    with suppress(InvalidInputError):
        checked = check_input_file(path, CHAT, lambda: False)
        assert checked.total == len({request.custom_id for request in requests_of(path)})
