"""Status changes of jobs: in any order a job ends once, and a paused job loses no step."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob
from server_process import (
    ServerProcess,
    StartServer,
    ended,
    example_lines,
    messages_on_record,
    steps_on_record,
    upload,
    wait_for_step,
)
from sqlalchemy import select
from sqlalchemy.orm import Session
from waiting import wait_for

from retune.server import ids
from retune.server.errors import ApiError
from retune.server.jobs import transitions
from retune.server.jobs.store import get_job
from retune.server.storage.database import Database
from retune.server.storage.engines import database_url
from retune.server.storage.statuses import UNFINISHED_JOBS, JobStatus
from retune.server.storage.tables import EventRow, JobRow, WebhookDeliveryRow
from retune.trainers.base import Hyperparameters

URLS = ("http://one/hook", "http://user:password@two/hook")
NUMBERS = Hyperparameters(n_epochs=1, batch_size=1, learning_rate_multiplier=1.0)

CHANGES: dict[str, Callable[[Session, JobRow], object]] = {
    "queue": lambda session, job: transitions.mark_queued(session, job.id, NUMBERS),
    "run": lambda session, job: transitions.mark_running(session, job.id),
    "pause": lambda session, job: transitions.mark_paused(session, job.id),
    "resume": lambda session, job: transitions.mark_resumed(session, job.id),
    "cancel": lambda session, job: transitions.mark_cancelled(session, job.id, webhook_urls=URLS),
    "fail": lambda session, job: transitions.mark_failed(
        session, job.id, transitions.job_error("server_error", "on purpose"), webhook_urls=URLS
    ),
    "succeed": lambda session, job: transitions.mark_succeeded(
        session, job, trained_tokens=1, result_file="file-1", webhook_urls=URLS
    ),
}
# What a change makes of a job; anything else leaves it as it is.
VALIDATING, QUEUED, RUNNING, PAUSED_STATUS = UNFINISHED_JOBS
EXPECTED: dict[tuple[str, str], JobStatus] = {
    ("queue", VALIDATING): QUEUED,
    ("run", QUEUED): RUNNING,
    ("succeed", RUNNING): JobStatus.SUCCEEDED,
    **{("pause", status): PAUSED_STATUS for status in (VALIDATING, QUEUED, RUNNING)},
    **{("fail", status): JobStatus.FAILED for status in (VALIDATING, QUEUED, RUNNING)},
    **{("cancel", status): JobStatus.CANCELLED for status in UNFINISHED_JOBS},
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    path: Path = tmp_path_factory.mktemp("transitions") / "server.sqlite"
    opened = Database(database_url(None, path))
    yield opened
    opened.close()


def add_job(session: Session) -> str:
    job = JobRow(
        id=ids.new_id("ftjob-"),
        created_at=0,
        status=VALIDATING,
        model="m",
        base_model="m",
        model_name=ids.new_model_name("m", "o", None),
        seed=0,
        training_file="file-0",
        requested_hyperparameters={},
        integrations=[],
    )
    session.add(job)
    session.flush()
    return job.id


def expected(change: str, job: JobRow) -> JobStatus:
    if (change, job.status) == ("resume", PAUSED_STATUS):
        return QUEUED if job.hyperparameters else VALIDATING
    return EXPECTED.get((change, job.status), JobStatus(job.status))


def attempt(change: str, session: Session, job: JobRow) -> bool:
    """Make a change; whether it was made."""
    try:
        return bool(CHANGES[change](session, job))
    except ApiError:
        return False


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.sampled_from(sorted(CHANGES)), max_size=12))
def test_a_job_ends_once_and_is_reported_once(database: Database, changes: list[str]) -> None:
    with database.write() as session:
        job_id = add_job(session)
        n_changed = 0
        for change in changes:
            job = get_job(session, job_id)
            before, wanted = job.status, expected(change, job)
            # A job that runs already may be started again.
            assert attempt(change, session, job) == (wanted != before or (change, before) == ("run", RUNNING))
            session.expire_all()
            assert get_job(session, job_id).status == wanted
            n_changed += wanted != before
        check_events(session, job_id, n_changed)


def check_events(session: Session, job_id: str, n_changed: int) -> None:
    status = get_job(session, job_id).status
    messages = list(session.scalars(select(EventRow.message).where(EventRow.job_id == job_id)))
    assert len(messages) == n_changed + (status == JobStatus.SUCCEEDED)
    told = session.scalars(select(WebhookDeliveryRow).where(WebhookDeliveryRow.body.contains(job_id))).all()
    if status in UNFINISHED_JOBS:
        assert not told
    else:
        assert [row.url for row in told] == ["http://one/hook", "http://two/hook"]
        assert len({row.body for row in told}) == 1
        assert f'"fine_tuning.job.{status}"' in told[0].body


def test_the_error_of_a_job_is_cut(database: Database) -> None:
    with database.write() as session:
        job_id = add_job(session)
        transitions.mark_failed(
            session, job_id, transitions.job_error("training_failed", "no " * 1_000_000), webhook_urls=()
        )
        error = get_job(session, job_id).error
        event = session.scalar(select(EventRow.message).where(EventRow.job_id == job_id))

    assert error
    assert error["message"] == event == ("no " * 1_000_000)[:2000] + "…"


ROWS = 300
# Longer than any test takes; an epoch, with its checkpoint, is as many steps as there are rows.
ENDLESS = {"n_epochs": 50, "batch_size": 1}
ENOUGH = 2 * ROWS + 20
PAUSED, RESUMED, STARTED = "Fine-tuning job paused", "Fine-tuning job resumed", "Fine-tuning job started"


def create(client: OpenAI, training: bytes | FileObject, **hyperparameters: int) -> str:
    file = upload(client, training) if isinstance(training, bytes) else training
    job = client.fine_tuning.jobs.create(
        model="baseline-text",
        training_file=file.id,
        hyperparameters=hyperparameters,  # type: ignore[arg-type]
        seed=5,
    )
    return job.id


def create_endless(client: OpenAI) -> str:
    return create(client, example_lines(ROWS), **ENDLESS)


def status(client: OpenAI, job_id: str) -> str:
    return str(client.fine_tuning.jobs.retrieve(job_id).status)


def wait_for_status(client: OpenAI, job_id: str, wanted: str) -> None:
    wait_for(lambda: status(client, job_id) == wanted, f"the status {wanted}")


def first_steps(client: OpenAI, job_id: str) -> list[object]:
    """Wait until a training has gone on for long enough, and give the metrics of its first steps."""
    wait_for_step(client, job_id, ENOUGH)
    client.fine_tuning.jobs.cancel(job_id)
    steps = steps_on_record(client, job_id)
    assert steps == list(range(1, len(steps) + 1))
    events = list(client.fine_tuning.jobs.list_events(job_id, limit=1000))
    return [event.data for event in events[::-1] if event.type == "metrics"][:ENOUGH]


@pytest.fixture(scope="module")
def undisturbed(server: ServerProcess) -> list[object]:
    """The first steps of a job that was never paused."""
    return first_steps(server.client(), create_endless(server.client()))


@pytest.mark.slow
def test_a_paused_training_resumes_where_it_was(start_server: StartServer, undisturbed: list[object]) -> None:
    server: ServerProcess = start_server()
    client = server.client()
    job_id = create_endless(client)
    for step in (1, ROWS + 20):
        wait_for_step(client, job_id, step)

        paused = client.fine_tuning.jobs.pause(job_id)

        assert (paused.status, paused.finished_at, paused.fine_tuned_model) == ("paused", None, None)
        wait_for(lambda: not server.training_processes(), "the end of the training process")
        on_record = steps_on_record(client, job_id)
        assert messages_on_record(client, job_id)[-1] == PAUSED

        resumed = client.fine_tuning.jobs.resume(job_id)

        assert resumed.status == "queued"
        assert steps_on_record(client, job_id)[: len(on_record)] == on_record
    assert first_steps(client, job_id) == undisturbed
    told = messages_on_record(client, job_id)
    assert [text for text in told if text in {PAUSED, RESUMED, STARTED}] == [STARTED, *[PAUSED, RESUMED, STARTED] * 2]
    checkpoints = [text for text in told if text.startswith("Checkpoint created")]
    assert len({text.split(" with ")[0] for text in checkpoints}) == len(checkpoints) >= 2


@pytest.mark.slow
def test_a_paused_job_stays_paused_when_the_server_is_killed(
    start_server: StartServer, undisturbed: list[object]
) -> None:
    server: ServerProcess = start_server()
    job_id = create_endless(server.client())
    wait_for_step(server.client(), job_id, ROWS + 20)
    server.client().fine_tuning.jobs.pause(job_id)
    server.end(signal.SIGKILL)

    client = start_server().client()

    other = ended(client, create(client, example_lines(10), n_epochs=1))
    assert other.status == "succeeded"
    assert status(client, job_id) == "paused"
    client.fine_tuning.jobs.resume(job_id)
    assert first_steps(client, job_id) == undisturbed


def test_a_paused_job_lets_the_next_one_run(start_server: StartServer) -> None:
    client: OpenAI = start_server().client()
    first, second = create_endless(client), create_endless(client)
    wait_for_status(client, first, "running")

    client.fine_tuning.jobs.pause(first)

    wait_for_status(client, second, "running")
    client.fine_tuning.jobs.resume(first)
    assert status(client, first) == "queued"
    client.fine_tuning.jobs.pause(second)
    wait_for_status(client, first, "running")
    assert status(client, second) == "paused"


def test_waiting_jobs_can_be_paused_and_do_not_count(start_server: StartServer) -> None:
    client: OpenAI = start_server("--max-queued-jobs", "1").client()
    running = create_endless(client)
    wait_for_status(client, running, "running")
    waiting = create(client, example_lines(10), n_epochs=1)
    wait_for_status(client, waiting, "queued")
    with pytest.raises(openai.RateLimitError):
        create(client, example_lines(10))

    client.fine_tuning.jobs.pause(waiting)

    another = create(client, example_lines(10), n_epochs=1)
    client.fine_tuning.jobs.cancel(running)
    assert ended(client, another).status == "succeeded"
    assert status(client, waiting) == "paused"
    client.fine_tuning.jobs.resume(waiting)
    assert ended(client, waiting).status == "succeeded"
    assert STARTED not in messages_on_record(client, waiting)[: messages_on_record(client, waiting).index(RESUMED)]


def test_a_job_paused_before_its_files_were_read_is_validated_later(start_server: StartServer) -> None:
    client: OpenAI = start_server().client()
    bad = upload(client, b"{}\n")
    # One file is read at a time, and this one has so many lines that it takes a while.
    large = create(client, b"\n" * (128 << 20))
    job_id = create(client, bad)

    paused = client.fine_tuning.jobs.pause(job_id)

    assert (paused.status, paused.hyperparameters.n_epochs) == ("paused", "auto")
    resumed = client.fine_tuning.jobs.resume(job_id)
    assert resumed.status == "validating_files"
    client.fine_tuning.jobs.cancel(large)
    failed = ended(client, job_id)
    assert failed.error
    assert failed.error.code == "invalid_training_file"


def test_a_paused_job_keeps_its_files_until_it_is_cancelled(start_server: StartServer) -> None:
    server: ServerProcess = start_server()
    client = server.client()
    base = ended(client, create(client, example_lines(10), n_epochs=1)).fine_tuned_model
    assert base
    file = upload(client, example_lines(100))
    job = client.fine_tuning.jobs.create(model=base, training_file=file.id, hyperparameters=ENDLESS)  # type: ignore[arg-type]
    wait_for(lambda: client.fine_tuning.jobs.checkpoints.list(job.id).data, "a checkpoint")
    client.fine_tuning.jobs.pause(job.id)

    with pytest.raises(openai.ConflictError):
        client.models.delete(base)
    assert client.files.delete(file.id).deleted
    assert (server.data_directory / "files" / file.id).exists()
    assert list((server.data_directory / "jobs" / job.id).glob("epoch-*"))

    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    wait_for(lambda: not list((server.data_directory / "jobs" / job.id).glob("epoch-*")), "the removal of checkpoints")
    assert client.models.delete(base).deleted


def test_invalid_pauses_and_resumes_are_refused(client: OpenAI, succeeded: FineTuningJob) -> None:
    jobs = client.fine_tuning.jobs
    paused = create(client, example_lines(10))
    jobs.pause(paused)
    refusals: list[tuple[Callable[[str], Any], str, str]] = [
        (jobs.pause, succeeded.id, f'Cannot pause a job {succeeded.id} that already has status "succeeded".'),
        (jobs.pause, paused, f'Cannot pause a job {paused} that already has status "paused".'),
        (
            jobs.resume,
            succeeded.id,
            f'Cannot resume a job {succeeded.id} that is not paused: its status is "succeeded".',
        ),
    ]
    for call, job_id, words in refusals:
        with pytest.raises(openai.BadRequestError) as caught:
            call(job_id)
        assert words in caught.value.message
        assert caught.value.response.headers["x-should-retry"] == "false"
    for call in (jobs.pause, jobs.resume):
        with pytest.raises(openai.NotFoundError) as missing:
            call("ftjob-unknown")
        assert missing.value.code == "fine_tune_not_found"
    jobs.cancel(paused)
