"""The life of a batch: answered, cancelled, expired, listed."""

import base64
import signal
import sqlite3
from collections.abc import Callable
from typing import Any, Literal

import openai
import pytest
from batch_requests import (
    CHAT,
    MANY,
    MODEL,
    ONE,
    SLOW,
    THREE,
    a_request,
    asking,
    counts,
    end_of,
    jsonl,
    results,
    start_batch,
    wait_for_answers,
)
from openai import OpenAI
from server_process import ServerProcess
from webhook_receiver import Receiver, webhook_receivers

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


def test_successes_and_failures_are_in_two_files(client: OpenAI) -> None:
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


def test_the_result_files_are_files_like_others(client: OpenAI) -> None:
    batch = start_batch(client, ONE, output_expires_after={"anchor": "created_at", "seconds": 7200})
    batch = end_of(client, batch.id)

    assert batch.output_file_id
    file = client.files.retrieve(batch.output_file_id)
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    assert file.bytes == len(client.files.content(file.id).content)
    assert file.expires_at == file.created_at + 7200
    assert batch.error_file_id is None
    assert client.files.delete(file.id).deleted


def test_a_batch_with_only_failures_is_completed(client: OpenAI) -> None:
    batch = end_of(client, start_batch(client, jsonl([asking(1, model="nobody"), asking(2, model="nobody")])).id)

    assert (batch.status, batch.output_file_id, batch.model, counts(batch)) == ("completed", None, "nobody", (2, 0, 2))
    codes = [line["response"]["body"]["error"]["code"] for line in results(client, batch.error_file_id).values()]
    assert codes == ["model_not_found"] * 2
    assert batch.usage
    assert batch.usage.total_tokens == 0


def test_a_retried_create_makes_no_second_batch(client: OpenAI) -> None:
    key = {"Idempotency-Key": "a batch of its own"}
    first = start_batch(client, ONE, extra_headers=key)

    again = client.batches.create(
        input_file_id=first.input_file_id, endpoint=CHAT, completion_window="24h", extra_headers=key
    )

    assert again.id == first.id
    other = client.batches.create(input_file_id=first.input_file_id, endpoint=CHAT, completion_window="24h")
    assert other.id != first.id


def test_batches_are_listed_newest_first(client: OpenAI) -> None:
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
def test_the_limit_of_a_list_is_bounded(client: OpenAI, options: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.batches.list(**options)

    assert caught.value.param == param


def test_an_unknown_batch_is_a_404(client: OpenAI) -> None:
    for ask in (client.batches.retrieve, client.batches.cancel):
        with pytest.raises(openai.NotFoundError, match="No batch found with id 'batch_none'"):
            ask("batch_none")


def test_a_batch_that_has_ended_can_not_be_cancelled(client: OpenAI) -> None:
    batch = end_of(client, start_batch(client, ONE).id)

    with pytest.raises(openai.ConflictError) as caught:
        client.batches.cancel(batch.id)

    assert caught.value.message.endswith("Cannot cancel a batch with status 'completed'.")
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_cancelled_batch_keeps_what_was_answered(client: OpenAI) -> None:
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


@pytest.mark.slow
def test_a_small_batch_does_not_wait_for_large_ones(client: OpenAI) -> None:
    costly = [start_batch(client, SLOW) for _ in range(3)]
    for batch in costly:
        wait_for_answers(client, batch.id)

    assert end_of(client, start_batch(client, THREE).id).status == "completed"

    assert [client.batches.retrieve(batch.id).status for batch in costly] == ["in_progress"] * 3
    for batch in costly:
        client.batches.cancel(batch.id)
        assert end_of(client, batch.id).status == "cancelled"


@pytest.mark.slow
def test_unanswered_requests_expire(start_server: Callable[..., ServerProcess]) -> None:
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
    assert sum(counts(end_of(client, waiting.id))[1:]) == 3


def test_legacy_completions_come_in_batches_too(client: OpenAI) -> None:
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


def test_each_end_of_a_batch_is_notified(start_server: Callable[..., ServerProcess]) -> None:
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
