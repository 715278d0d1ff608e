"""Cancelling a flow run cancels the job that it waits for, and never one that another run waits for."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from billing_account import Habits
from billing_machines import TRAINING
from billing_provider import Provider, billing_provider
from openai import APIConnectionError, OpenAI
from openai.types.fine_tuning import FineTuningJob
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort
from prefect.states import Cancelled, Cancelling, Crashed, Running
from retrain_runs import configuration, events, flow_runs_on, log_of, write_tickets
from server_process import example_lines, upload
from waiting import wait_for_async

from flows.cancel_job import cancel_job
from flows.retrain import retrain
from retune.provider.job_journal import RUN_KEY, JobJournal
from retune.provider.one_job import job_request
from tasks.runtime import cancelling
from tasks.runtime.cancelling import cancel_job_of
from tasks.runtime.hooks import cancel_remote_job

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    # The stem is the data's label, by which the tests find their runs.
    return write_tickets(tmp_path / f"{tmp_path.name}.csv")


@pytest.fixture
def client(training_server: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=training_server, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def long_file(client: OpenAI) -> str:
    return upload(client, example_lines(2_000)).id


def long_job(client: OpenAI, file: str, run_key: str) -> FineTuningJob:
    """A job of many minutes."""
    return client.fine_tuning.jobs.create(
        model="baseline-text",
        training_file=file,
        metadata={RUN_KEY: run_key},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 50, "batch_size": 1}}},
    )


@pytest.fixture
def busy_server(client: OpenAI, long_file: str) -> Iterator[None]:
    """Whoever comes next waits in the queue."""
    job = long_job(client, long_file, "busy")
    yield
    client.fine_tuning.jobs.cancel(job.id)


async def waiting_run(data: Path) -> FlowRun | None:
    runs = await flow_runs_on(data)
    return runs[0] if runs and runs[0].labels.get("retune.job_id") else None


async def set_state(run_id: UUID, state: State) -> None:
    async with get_client() as prefect:
        await prefect.set_flow_run_state(run_id, state, force=True)


@pytest.mark.parametrize("state", [Cancelled(), Cancelling()], ids=["set by hand", "without a worker"])
@pytest.mark.usefixtures("busy_server")
async def test_a_run_whose_state_is_set_to_cancelled_ends_and_so_does_its_job(
    training_server: str, client: OpenAI, tickets: Path, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    monkeypatch.setattr(cancelling, "_POLL_SECONDS", 0.1)
    running = asyncio.create_task(retrain(configuration(training_server, tickets)))
    run = await wait_for_async(lambda: waiting_run(tickets), "the job")
    assert run
    await set_state(run.id, state)
    with pytest.raises(Abort):
        await running
    job_id = str(run.labels["retune.job_id"])
    assert client.fine_tuning.jobs.retrieve(job_id).status == "cancelled"
    async with get_client() as prefect:
        ended = await prefect.read_flow_run(run.id)
    assert ended.state
    assert ended.state.is_cancelled()
    assert f"Cancelled the fine-tuning job {job_id}" in await log_of(run)
    (told,) = await wait_for_async(lambda: events("retune.job.cancelled", job_id), "the job's cancellation")
    assert told["run_key"] == run.labels["retune.run_key"]


async def flow_run_of(job: FineTuningJob, base_url: str, state: State, *, run_key: str, knows_id: bool = True) -> UUID:
    """A flow run as a process that is gone has left it."""
    async with get_client() as prefect:
        run = await prefect.create_flow_run(retrain, parameters={}, state=state)
        await prefect.update_flow_run_labels(
            run.id,
            {
                "retune.job_id": job.id if knows_id else "",
                "retune.base_url": base_url,
                "retune.run_key": run_key,
                "retune.api_key_block": "",
            },
        )
    return run.id


def status(client: OpenAI, job: FineTuningJob) -> str:
    return client.fine_tuning.jobs.retrieve(job.id).status


@pytest.mark.parametrize("knows_id", [True, False], ids=["by its id", "by the run key"])
async def test_the_reaper_cancels_what_a_dead_worker_left(
    training_server: str, client: OpenAI, long_file: str, tmp_path: Path, knows_id: bool
) -> None:
    run_key = tmp_path.name
    job = long_job(client, long_file, run_key)
    run_id = await flow_run_of(job, training_server, Cancelled(), run_key=run_key, knows_id=knows_id)
    await cancel_job(run_id)
    assert status(client, job) == "cancelled"
    # Whoever comes later finds nothing to do: the worker's own hook, and the reaper once more.
    async with get_client() as prefect:
        run = await prefect.read_flow_run(run_id)
    await cancel_remote_job(retrain, run, Cancelling())
    log = await log_of(run)
    assert log.count("Cancelled the fine-tuning job") == 1
    assert f"{job.id} is left alone: it has ended (cancelled)" in log
    assert len(await wait_for_async(lambda: events("retune.job.cancelled", job.id), "the cancellation")) == 1


@pytest.mark.slow
async def test_job_that_another_run_waits_for_is_not_cancelled(
    training_server: str, client: OpenAI, long_file: str, tmp_path: Path
) -> None:
    run_key = tmp_path.name
    job = long_job(client, long_file, run_key)
    cancelled = await flow_run_of(job, training_server, Cancelled(), run_key=run_key)
    other = await flow_run_of(job, training_server, Running(), run_key=run_key)
    await cancel_job(cancelled)
    assert status(client, job) != "cancelled"
    # Nor is one cancelled whose run was rescheduled.
    await cancel_job(other)
    assert status(client, job) != "cancelled"
    # A crashed one is, in a moment.
    await set_state(other, Crashed())
    await cancel_job(cancelled)
    assert status(client, job) != "cancelled"
    await set_state(other, Cancelled())
    await cancel_job(cancelled)
    assert status(client, job) == "cancelled"


async def test_a_run_without_a_job_has_nothing_to_cancel() -> None:
    async with get_client() as prefect:
        run = await prefect.create_flow_run(retrain, parameters={}, state=Cancelled())
    await cancel_job(run.id)
    assert "No job is cancelled: the run had not come to creating one." in await log_of(run)


async def run_with_unknown_job(base_url: str, run_key: str) -> FlowRun:
    labels: dict[str, bool | int | float | str] = {"retune.base_url": base_url, "retune.run_key": run_key}
    async with get_client() as prefect:
        run = await prefect.create_flow_run(retrain, parameters={}, state=Cancelling())
        await prefect.update_flow_run_labels(run.id, {**labels, "retune.job_id": "ftjob-gone"})
    return run


async def test_job_that_can_not_be_cancelled_is_named_in_the_log(training_server: str, tmp_path: Path) -> None:
    run = await run_with_unknown_job(training_server, tmp_path.name)
    await cancel_remote_job(retrain, run, Cancelling())
    assert "could not be cancelled, and may still run" in await log_of(run)


async def test_unreachable_provider_is_asked_again(tmp_path: Path, unused_tcp_port: int) -> None:
    run = await run_with_unknown_job(f"http://127.0.0.1:{unused_tcp_port}/v1", tmp_path.name)
    started = time.monotonic()
    with pytest.raises(APIConnectionError):
        await cancel_job_of(run.id, pauses_seconds=(0.2, 0.3))
    assert time.monotonic() - started >= 0.5


@pytest.fixture
def billing() -> Iterator[Provider]:
    with billing_provider() as provider:
        yield provider


async def run_with_lost_answer(base_url: str, directory: Path, job_id: str) -> FlowRun:
    """A cancelled flow run whose journal has a request that nobody answered."""
    labels: dict[str, bool | int | float | str] = {
        "retune.base_url": base_url,
        "retune.run_key": directory.name,
        "retune.run_directory": str(directory),
        "retune.job_id": job_id,
    }
    async with get_client() as prefect:
        run = await prefect.create_flow_run(retrain, parameters={}, state=Cancelled())
        await prefect.update_flow_run_labels(run.id, labels)
    return run


@pytest.mark.parametrize("knows_another", [False, True])
async def test_a_job_whose_answer_was_lost_is_cancelled_once_it_is_listed(
    billing: Provider, tmp_path: Path, *, knows_another: bool
) -> None:
    base_url, account = billing.open_account(Habits(list_lag_seconds=0 if knows_another else 1), job_seconds=1e6)
    request = job_request(TRAINING, run_key=tmp_path.name, training_file="file-1", validation_file=None)
    JobJournal(tmp_path, tmp_path.name).begin(request, idempotency_key="1", now=account.now())
    lost = account.make_job(request)
    known = account.make_job(request) if knows_another else None
    run = await run_with_lost_answer(base_url, tmp_path, known["id"] if known else "")
    await cancel_job_of(run.id, unclear_pauses_seconds=(0.5,) * 60)
    assert lost["ended_as"] == "cancelled"
    assert account.paid_for == []
