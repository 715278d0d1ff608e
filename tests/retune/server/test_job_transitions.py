"""Whatever is asked of a job in whatever order: it ends once, its events say how, and that is told once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

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
VALIDATING, QUEUED, RUNNING, PAUSED = UNFINISHED_JOBS
EXPECTED: dict[tuple[str, str], JobStatus] = {
    ("queue", VALIDATING): QUEUED,
    ("run", QUEUED): RUNNING,
    ("succeed", RUNNING): JobStatus.SUCCEEDED,
    **{("pause", status): PAUSED for status in (VALIDATING, QUEUED, RUNNING)},
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
    if (change, job.status) == ("resume", PAUSED):
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
def test_a_job_ends_once_and_that_is_told_once(database: Database, changes: list[str]):
    with database.write() as session:
        job_id = add_job(session)
        n_changed = 0
        for change in changes:
            job = get_job(session, job_id)
            before, wanted = job.status, expected(change, job)
            # A job that runs already may be taken up again.
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


def test_the_error_of_a_job_is_not_longer_than_anyone_reads(database: Database):
    with database.write() as session:
        job_id = add_job(session)
        transitions.mark_failed(
            session, job_id, transitions.job_error("training_failed", "no " * 1_000_000), webhook_urls=()
        )
        error = get_job(session, job_id).error
        event = session.scalar(select(EventRow.message).where(EventRow.job_id == job_id))

    assert error
    assert error["message"] == event == ("no " * 1_000_000)[:2000] + "…"
