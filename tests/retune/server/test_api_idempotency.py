"""Repeated requests: retries of an SDK find what the first copy created, equal requests create anew."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from faulty_proxy import Fault, FaultyProxy, faulty_proxy
from openai import OpenAI
from openai.types import FileObject
from server_process import ServerProcess, example_lines, upload
from sqlalchemy import select
from waiting import wait_for

from retune.server.retention import delete_outdated_rows
from retune.server.storage.database import Database
from retune.server.storage.engines import database_url
from retune.server.storage.tables import IdempotencyRow, WebhookDeliveryRow

RETRY = {"x-stainless-retry-count": "1"}
DAY = 24 * 3600


@pytest.fixture(scope="module", autouse=True)
def place_for_others(server: ServerProcess) -> Iterator[None]:
    """Leave no queue of jobs behind."""
    yield
    client = server.client()
    for job in client.fine_tuning.jobs.list():
        is_unfinished = job.status in {"validating_files", "queued", "running"}
        if is_unfinished and job.to_dict().get("user_provided_suffix") == "again":
            # It may have ended since the list was made.
            with suppress(openai.BadRequestError):
                client.fine_tuning.jobs.cancel(job.id)


@pytest.fixture
def proxy(server: ServerProcess) -> Iterator[FaultyProxy]:
    with faulty_proxy(server.base_url) as proxy:
        yield proxy


@pytest.fixture
def patient(proxy: FaultyProxy) -> Iterator[OpenAI]:
    """A client as people have it, behind a bad network."""
    with OpenAI(base_url=proxy.base_url, api_key="any", max_retries=2) as client:
        yield client


@pytest.fixture(scope="session")
def batch_file(server: ServerProcess) -> FileObject:
    body = '{"model": "baseline-text", "messages": [{"role": "user", "content": "hi"}]}'
    line = f'{{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {body}}}\n'
    return server.client().files.create(file=("batch.jsonl", line.encode()), purpose="batch")


def create_job(client: OpenAI, files: tuple[FileObject, FileObject], **more: Any) -> str:
    return client.fine_tuning.jobs.create(
        model="baseline-text", training_file=files[0].id, suffix="again", hyperparameters={"n_epochs": 50}, **more
    ).id


def create_file(client: OpenAI, files: tuple[FileObject, FileObject], **more: Any) -> str:
    return client.files.create(file=("again.txt", b"again"), purpose="user_data", **more).id


def create_upload(client: OpenAI, files: tuple[FileObject, FileObject], **more: Any) -> str:
    return client.uploads.create(bytes=1, filename="again", mime_type="a/b", purpose="user_data", **more).id


def create_batch(client: OpenAI, files: tuple[FileObject, FileObject], **more: Any) -> str:
    return client.batches.create(
        input_file_id=files[1].id, endpoint="/v1/chat/completions", completion_window="24h", **more
    ).id


Create = Callable[..., str]
CREATES: list[tuple[Create, str]] = [
    (create_job, "/fine_tuning/jobs"),
    (create_file, "/files"),
    (create_upload, "/uploads"),
    (create_batch, "/batches"),
]


@pytest.fixture
def files(training_file: FileObject, batch_file: FileObject) -> tuple[FileObject, FileObject]:
    return training_file, batch_file


def change(server: ServerProcess, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(server.data_directory / "server.sqlite", timeout=10)) as database, database:
        database.execute(statement, values)


def forget_answers(server: ServerProcess, seconds: int) -> None:
    """Let time pass."""
    change(server, "UPDATE idempotency_keys SET created_at = created_at - ?", seconds)


@pytest.mark.parametrize(("create", "path"), CREATES)
def test_a_retry_after_a_lost_answer_creates_nothing_and_an_equal_request_does(
    patient: OpenAI, proxy: FaultyProxy, files: tuple[FileObject, FileObject], create: Create, path: str
) -> None:
    earlier = create(patient, files)
    proxy.faults.append(Fault("POST", path, after_forwarding=True))

    made = create(patient, files)

    assert proxy.count("POST", path) == 3
    assert made != earlier
    assert create(patient, files) not in {earlier, made}


def test_two_lost_answers_create_one_object(
    patient: OpenAI, proxy: FaultyProxy, client: OpenAI, files: tuple[FileObject, FileObject]
) -> None:
    before = len([*client.fine_tuning.jobs.list()])
    proxy.faults.append(Fault("POST", "/fine_tuning/jobs", times=2, after_forwarding=True))

    made = create_job(patient, files)

    jobs = [*client.fine_tuning.jobs.list()]
    assert (len(jobs), jobs[0].id) == (before + 1, made)


@pytest.mark.parametrize(("create", "path"), CREATES)
def test_a_retry_after_a_long_time_is_a_new_request(
    server: ServerProcess, client: OpenAI, files: tuple[FileObject, FileObject], create: Create, path: str
) -> None:
    earlier = create(client, files)
    assert create(client, files, extra_headers=RETRY) == earlier
    forget_answers(server, 8)
    hasty = {**RETRY, "x-stainless-read-timeout": "30"}
    assert create(client, files, extra_headers=hasty) == earlier
    forget_answers(server, 50)

    assert create(client, files, extra_headers=hasty) != earlier
    latest = create(client, files)
    forget_answers(server, 620)
    assert create(client, files, extra_headers=RETRY) != latest


def test_a_retry_without_a_key_does_not_find_what_a_client_has_ended(
    server: ServerProcess, client: OpenAI, files: tuple[FileObject, FileObject]
) -> None:
    job, sent, batch = (create(client, files) for create in (create_job, create_upload, create_batch))
    file = create_file(client, files)
    client.fine_tuning.jobs.cancel(job)
    client.uploads.cancel(sent)
    client.files.delete(file)
    wait_for(lambda: client.batches.retrieve(batch).status == "completed", "the batch")
    # A batch that ended by itself may have been faster than its copy.
    assert create_batch(client, files, extra_headers=RETRY) == batch
    change(server, "UPDATE batches SET status = 'cancelled' WHERE id = ?", batch)

    assert create_job(client, files, extra_headers=RETRY) != job
    assert create_upload(client, files, extra_headers=RETRY) != sent
    assert create_file(client, files, extra_headers=RETRY) != file
    assert create_batch(client, files, extra_headers=RETRY) != batch


def test_a_retry_with_a_key_finds_ended_objects_too(client: OpenAI, files: tuple[FileObject, FileObject]) -> None:
    key = {"Idempotency-Key": "ended"}
    job, sent = (create(client, files, extra_headers=key) for create in (create_job, create_upload))
    client.fine_tuning.jobs.cancel(job)
    client.uploads.cancel(sent)

    assert create_job(client, files, extra_headers=key) == job
    assert create_upload(client, files, extra_headers=key) == sent


def test_an_idempotency_key_belongs_to_its_caller(
    server: ServerProcess, client: OpenAI, files: tuple[FileObject, FileObject]
) -> None:
    key = {"Idempotency-Key": "everyone's favourite"}

    mine = create_upload(client, files, extra_headers=key)

    assert create_upload(server.client("another"), files, extra_headers=key) != mine
    assert create_upload(client, files, extra_headers=key) == mine


def test_a_caller_is_recognized_in_either_key_header(server: ServerProcess) -> None:
    body = {"filename": "a.jsonl", "purpose": "fine-tune", "bytes": 10, "mime_type": "application/jsonl"}

    def create_with(**headers: str) -> str:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return str(server.request("POST", "/v1/uploads", body, {"Idempotency-Key": "spelled", **names}).json["id"])

    mine = create_with(authorization="Bearer sk-one")

    assert create_with(authorization="bearer   sk-one") == mine
    assert create_with(authorization="Basic eDp5", api_key="sk-one") == mine
    assert create_with(authorization="Basic eDp5", api_key="sk-other") != mine


def test_a_retry_of_a_refused_request_does_not_find_an_older_object(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server("--max-queued-jobs", "1")
    client = server.client()
    file = upload(client, example_lines(300))
    running = create_job(client, (file, file))
    wait_for(lambda: client.fine_tuning.jobs.retrieve(running).status == "running", "the training")
    waiting = create_job(client, (file, file))

    with (
        OpenAI(base_url=server.base_url, api_key="any", max_retries=2) as patient,
        pytest.raises(openai.RateLimitError),
    ):
        create_job(patient, (file, file))

    assert [job.id for job in client.fine_tuning.jobs.list()] == [waiting, running]


def test_outdated_rows_are_deleted(tmp_path: Path) -> None:
    database = Database(database_url(None, tmp_path / "server.sqlite"))
    now = int(time.time())
    with database.write() as session:
        for name, age in (("retry-new", 600), ("retry-old", 2 * 3600), ("key-new", 29 * DAY), ("key-old", 31 * DAY)):
            session.add(IdempotencyRow(key=name, request_hash="", object_id="", created_at=now - age))
        for event_id, age, due in (
            ("new", DAY, None),
            ("delivered", 8 * DAY, None),
            ("due", 8 * DAY, now - DAY),
            ("due to nobody", 8 * DAY, now - 4 * DAY),
        ):
            session.add(
                WebhookDeliveryRow(event_id=event_id, url="", body="", created_at=now - age, next_attempt_at=due)
            )

    with database.write() as session:
        delete_outdated_rows(session)

    with database.read() as session:
        assert set(session.scalars(select(IdempotencyRow.key))) == {"retry-new", "key-new"}
        assert set(session.scalars(select(WebhookDeliveryRow.event_id))) == {"new", "due"}
    database.close()


def test_the_same_key_and_upload_create_one_file(client: OpenAI) -> None:
    headers = {"Idempotency-Key": "upload-1"}
    content = example_lines(3)

    with ThreadPoolExecutor(4) as pool:
        made = list(
            pool.map(
                lambda _: client.files.create(file=("a.jsonl", content), purpose="fine-tune", extra_headers=headers),
                range(4),
            )
        )

    assert len({file.id for file in made}) == 1
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=("a.jsonl", content + b"{}\n"), purpose="fine-tune", extra_headers=headers)
    assert caught.value.code == "idempotency_key_reused"
    client.files.delete(made[0].id)
    again = client.files.create(file=("a.jsonl", content), purpose="fine-tune", extra_headers=headers)
    assert again.id != made[0].id
    assert json.loads(client.files.content(again.id).content.splitlines()[0])
