"""Notifications: a real server, real receivers, and the SDK's own verification."""

import base64
import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.webhooks import UnwrapWebhookEvent
from pydantic import SecretStr
from server_process import ServerProcess, StartServer, ended, example_lines, upload
from waiting import wait_for
from webhook_receiver import Received, Receiver, webhook_receivers

from retune.errors import ServerError
from retune.server.settings import ServerSettings
from retune.server.webhooks.receivers import receivers_of, signer_of

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ENVIRONMENT = {"RETUNE_SERVER_WEBHOOK_SECRET": SECRET}

Tell = StartServer


@pytest.fixture
def new_receiver() -> Iterator[Callable[..., Receiver]]:
    """Make receivers that end with the test."""
    with webhook_receivers() as receivers:

        def new(**options: Any) -> Receiver:
            receivers.append(Receiver(**options))
            return receivers[-1]

        yield new


@pytest.fixture
def telling(start_server: StartServer) -> Tell:
    """Start a server that tells these URLs."""

    def start(*urls: str) -> ServerProcess:
        arguments = [argument for url in urls for argument in ("--webhook-url", url)]
        return start_server(*arguments, **ENVIRONMENT)

    return start


def failed_job(client: OpenAI) -> str:
    """A job that ends at once."""
    job = client.fine_tuning.jobs.create(model="baseline-text", training_file=upload(client, b"").id)
    return ended(client, job.id).id


def unwrap(client: OpenAI, received: Received) -> UnwrapWebhookEvent:
    return client.webhooks.unwrap(received.body, received.headers, secret=SECRET)


def deliveries(server: ServerProcess) -> list[dict[str, Any]]:
    with sqlite3.connect(server.data_directory / "server.sqlite") as database:
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute("SELECT * FROM webhook_deliveries ORDER BY position")]
    database.close()
    return rows


def test_each_end_of_a_job_is_notified(telling: Tell, new_receiver: Callable[..., Receiver]) -> None:
    receiver = new_receiver().listen()
    client = telling(receiver.url).client()
    training_file = upload(client, example_lines(300)).id
    cancelled = client.fine_tuning.jobs.create(
        model="baseline-text", training_file=training_file, hyperparameters={"n_epochs": 50, "batch_size": 1}
    )
    client.fine_tuning.jobs.cancel(cancelled.id)
    failed = failed_job(client)
    succeeded = client.fine_tuning.jobs.create(
        model="baseline-text", training_file=training_file, hyperparameters={"n_epochs": 1, "batch_size": 100}
    )

    events = [unwrap(client, received) for received in receiver.wait_for_requests(3)]

    assert {event.type: event.data.id for event in events} == {  # type: ignore[union-attr]
        "fine_tuning.job.cancelled": cancelled.id,
        "fine_tuning.job.failed": failed,
        "fine_tuning.job.succeeded": succeeded.id,
    }
    assert client.fine_tuning.jobs.retrieve(succeeded.id).status == "succeeded"
    for event, received in zip(events, receiver.received, strict=True):
        assert received.headers["webhook-id"] == event.id
        assert received.headers["content-type"] == "application/json"
        assert json.loads(received.body)["object"] == "event"
        assert abs(event.created_at - time.time()) < 600
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(receiver.received[0].body, receiver.received[1].headers, secret=SECRET)


@pytest.mark.slow
def test_a_receiver_that_was_down_is_notified_even_after_a_kill(
    telling: Tell, new_receiver: Callable[..., Receiver]
) -> None:
    receiver = new_receiver()
    server = telling(receiver.url)
    job_id = failed_job(server.client())
    wait_for(lambda: deliveries(server)[0]["attempts"], "an attempt")
    server.end(signal.SIGKILL)
    assert deliveries(server)[0]["last_error"] == "ConnectError: [Errno 111] Connection refused"

    receiver.listen()
    server = telling(receiver.url)

    event = unwrap(server.client(), receiver.wait_for_requests(1)[0])
    assert (event.type, event.data.id) == ("fine_tuning.job.failed", job_id)  # type: ignore[union-attr]
    wait_for(lambda: deliveries(server)[0]["delivered_at"], "the delivery's record")
    assert deliveries(server)[0]["next_attempt_at"] is None
    assert len(receiver.received) == 1


def test_anything_but_success_is_retried(telling: Tell, new_receiver: Callable[..., Receiver]) -> None:
    elsewhere = new_receiver().listen()
    receiver = new_receiver(answers=[500, 302], headers={"Location": elsewhere.url}).listen()
    server = telling(receiver.url)
    failed_job(server.client())

    attempts = receiver.wait_for_requests(3)

    events = [unwrap(server.client(), received) for received in attempts]
    assert events[0] == events[1] == events[2]
    assert {received.headers["webhook-id"] for received in attempts} == {events[0].id}
    times = [int(received.headers["webhook-timestamp"]) for received in attempts]
    assert times[0] < times[1] < times[2]
    assert elsewhere.received == []
    wait_for(lambda: deliveries(server)[0]["delivered_at"], "the delivery's record")
    assert deliveries(server)[0]["attempts"] == 3


def test_deliveries_to_receivers_that_are_gone_or_down_for_days_end(
    telling: Tell, new_receiver: Callable[..., Receiver]
) -> None:
    receiver = new_receiver(answers=[410, 500]).listen()
    server = telling(receiver.url)
    failed_job(server.client())
    wait_for(lambda: deliveries(server)[0]["next_attempt_at"] is None, "the end of attempts")
    failed_job(server.client())
    receiver.wait_for_requests(2)
    server.end(signal.SIGKILL)
    receiver.answers.append(500)
    with sqlite3.connect(server.data_directory / "server.sqlite") as database:
        database.execute("UPDATE webhook_deliveries SET created_at = created_at - 72 * 3600 WHERE position = 2")
    database.close()

    server = telling(receiver.url)

    wait_for(lambda: deliveries(server)[1]["next_attempt_at"] is None, "the end of attempts")
    gone, late = deliveries(server)
    assert (gone["attempts"], gone["delivered_at"], gone["last_error"]) == (1, None, "HTTP status 410")
    assert (late["delivered_at"], late["last_error"]) == (None, "HTTP status 500")


@pytest.mark.slow
def test_a_slow_receiver_does_not_delay_others(telling: Tell, new_receiver: Callable[..., Receiver]) -> None:
    slow, quick = new_receiver().listen(), new_receiver().listen()
    slow.silence.clear()
    server = telling(slow.url, quick.url)
    jobs = [failed_job(server.client()) for _ in range(3)]

    told = [unwrap(server.client(), received).data.id for received in quick.wait_for_requests(3)]  # type: ignore[union-attr]

    assert told == jobs
    assert len(slow.wait_for_requests(1)) == 1
    assert server.end(signal.SIGTERM) == 0
    assert [row["delivered_at"] for row in deliveries(server) if row["url"] == slow.url] == [None] * 3


def test_secrets_of_a_url_reach_only_the_receiver(telling: Tell, new_receiver: Callable[..., Receiver]) -> None:
    receiver = new_receiver(answers=[500]).listen()
    url = receiver.url.replace("http://", "http://someone:p%40ss-word@") + "?token=t0ken"
    server = telling(url)
    failed_job(server.client())

    received = receiver.wait_for_requests(2)[-1]

    assert base64.b64decode(received.headers["authorization"].removeprefix("Basic ")) == b"someone:p@ss-word"
    assert received.path == "/hook?token=t0ken"
    assert server.process
    server.process.send_signal(signal.SIGTERM)
    log = server.process.communicate()[1]
    assert b"HTTP status 500" in log
    for secret in (b"ss-word", b"t0ken", SECRET.encode()):
        assert secret not in log
    for path in server.data_directory.rglob("*"):
        assert not path.is_file() or b"ss-word" not in path.read_bytes()


@pytest.mark.parametrize(
    ("urls", "secret", "words"),
    [
        (("http://127.0.0.1/a",), None, "no secret to sign with. Set RETUNE_SERVER_WEBHOOK_SECRET"),
        (("http://127.0.0.1/a",), "whsec_c2hvcnQ=", "must be 'whsec_' and 24 bytes or more in base64"),
        (("http://127.0.0.1/a",), "hunter2" * 9, "must be 'whsec_' and 24 bytes"),
        (("http://127.0.0.1/a",), "whsec_" + "hunter2!" * 9, "must be 'whsec_' and 24 bytes"),
        (("ftp://user:hunter2@127.0.0.1/a",), SECRET, "not an address that accepts POST"),
        (("127.0.0.1/hunter2",), SECRET, "not an address that accepts POST"),
        (("http://127.0.0.1:99999/hunter2",), SECRET, "not an address that accepts POST"),
        (("http://h/hunter2", "http://hunter2@h/hunter2"), SECRET, "A webhook URL at http://h is given twice"),
    ],
)
def test_invalid_webhook_settings_are_refused(urls: tuple[str, ...], secret: str | None, words: str) -> None:
    settings = ServerSettings(
        data_directory=Path("unused"), webhook_urls=urls, webhook_secret=SecretStr(secret) if secret else None
    )

    with pytest.raises(ServerError) as caught:
        (receivers_of(settings), signer_of(settings))

    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_command_in_the_hint_prints_a_good_secret(
    tmp_path: Path, refuse: Callable[..., tuple[int, str]], start_server: StartServer
) -> None:
    status, said = refuse(tmp_path / "refused", "--webhook-url", "http://127.0.0.1/a")
    command = said.partition("prints a good one: ")[2]

    secret = subprocess.run(command, shell=True, capture_output=True, check=True, text=True).stdout.strip()  # noqa: S602

    assert status == 1
    assert len(said.splitlines()) == 1
    assert start_server("--webhook-url", "http://127.0.0.1/a", RETUNE_SERVER_WEBHOOK_SECRET=secret).base_url
