"""The whole flow at a provider that bills and has bad habits: one paid job, and nobody else's is touched."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from billing_account import Account, Habits
from billing_provider import Provider, billing_provider
from prefect.client.orchestration import get_client
from prefect.states import Cancelled
from retrain_runs import configuration, flow_runs_on, log_of, write_tickets

from flows.cancel_job import cancel_job
from flows.retrain import retrain
from retune.config import RetrainConfig
from retune.errors import JobVanishedError, JobWaitTimeoutError, UnclearJobError
from retune.provider.job_journal import JobJournal
from tasks.runtime.cancelling import cancel_job_of

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with billing_provider() as provider:
        yield provider


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    # The stem is the data's label, by which the tests find their runs.
    return write_tickets(tmp_path / f"{tmp_path.name}.csv")


def set_up(provider: Provider, tickets: Path, habits: Habits, **training: Any) -> tuple[RetrainConfig, Account]:
    base_url, account = provider.open_account(habits)
    return configuration(base_url, tickets, training=training), account


async def log_on(tickets: Path) -> str:
    return "\n".join([await log_of(run) for run in await flow_runs_on(tickets)])


@pytest.mark.slow
async def test_a_lost_answer_a_lagging_list_and_pages_that_overlap(provider: Provider, tickets: Path) -> None:
    habits = Habits(lost_answers=1, list_lag_seconds=3, newer_jobs=150, page_overlap=1, filters=False)
    config, account = set_up(provider, tickets, habits)
    manifest = await retrain(config)
    assert account.paid == account.paid_for == [manifest.job.id]
    log = await log_on(tickets)
    assert "It is not clear whether the provider has created the job (500" in log
    assert "Searching for the job for up to 10 minutes" in log


async def test_nothing_is_paid_twice_where_only_the_directory_knows(provider: Provider, tickets: Path) -> None:
    habits = Habits(
        keeps_metadata=False, filters=False, forgets_files=True, strangers=2, dialect={"succeeded": "SUCCESS"}
    )
    config, account = set_up(provider, tickets, habits)
    first = await retrain(config)
    uploads = account.requests.count(("POST", "/files"))
    again = await retrain(config)
    assert (again.job.id, account.paid) == (first.job.id, [first.job.id])
    assert account.requests.count(("POST", "/files")) == uploads
    assert not account.strangers_cancelled


@pytest.mark.slow
async def test_a_run_that_waited_too_long_resumes(provider: Provider, tickets: Path) -> None:
    dialect = {"succeeded": "levitating"}
    config, account = set_up(provider, tickets, Habits(dialect=dialect), max_wait_hours=0.0005)
    with pytest.raises(JobWaitTimeoutError, match=r"training\.max_wait_hours.*levitating"):
        await retrain(config)
    assert "shows the status 'levitating'" in await log_on(tickets)
    dialect.clear()
    manifest = await retrain(config)
    assert account.paid == account.paid_for == [manifest.job.id]


@pytest.mark.slow
async def test_a_job_that_vanished_makes_no_other_one(provider: Provider, tickets: Path) -> None:
    config, account = set_up(provider, tickets, Habits(dialect={"succeeded": "levitating"}), max_wait_hours=0.0001)
    with pytest.raises(JobWaitTimeoutError):
        await retrain(config)
    account.jobs.clear()
    patient = config.model_copy(update={"training": config.training.model_copy(update={"max_wait_hours": 1.0})})
    with pytest.raises(JobVanishedError, match="No other one was created"):
        await retrain(patient)
    assert len(account.paid) == 1


async def cancelled_run(base_url: str, **labels: str) -> Any:
    async with get_client() as prefect:
        run = await prefect.create_flow_run(retrain, parameters={}, state=Cancelled())
        common = {"retune.base_url": base_url, "retune.run_key": "1f" * 16, "retune.api_key_block": ""}
        await prefect.update_flow_run_labels(run.id, {**common, **labels})
    return run


async def test_cancelling_a_run_leaves_jobs_alone_that_it_did_not_create(provider: Provider, tmp_path: Path) -> None:
    base_url, account = provider.open_account(Habits(keeps_metadata=False), job_seconds=600)
    body = {
        "model": "m",
        "training_file": "file-1",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {}}},
    }
    stranger = account.make_job(body, made_by="others")
    followed = await cancelled_run(base_url, **{"retune.job_id": stranger["id"], "retune.job_is_ours": "no"})
    await cancel_job(followed.id)
    assert "it can't be proven that this run created it" in await log_of(followed)
    # A process that ended before it heard of its job has left its intent.
    killed = await cancelled_run(base_url, **{"retune.job_id": "", "retune.run_directory": str(tmp_path)})
    journal = JobJournal(tmp_path, "1f" * 16)
    journal.begin({**body, "training_file": "file-2"}, idempotency_key="k", now=account.now())
    with pytest.raises(UnclearJobError, match="lists none yet"):
        await cancel_job_of(killed.id, unclear_pauses_seconds=(0.1,))
    ours = account.make_job({**body, "training_file": "file-2"})
    await cancel_job(killed.id)
    assert account.state(ours) == "cancelled"
    assert not account.strangers_cancelled
