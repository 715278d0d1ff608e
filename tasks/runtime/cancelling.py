"""When a flow run is cancelled, so is the job that it pays for, unless another run waits for the same job."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx
import openai
from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterId,
    FlowRunFilter,
    FlowRunFilterEndTime,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import Abort, CancelledRun, PrefectException
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run as this_flow_run
from prefect.states import Cancelled

from retune.config import ProviderConfig
from retune.errors import ProviderError, RetuneError, UnclearJobError
from retune.provider.errors import is_transient, one_line
from retune.provider.job_journal import JobJournal, run_key_of
from retune.provider.jobs import cancel_job, retrieve_job
from retune.provider.own_jobs import find_own_jobs
from retune.provider.statuses import has_ended
from tasks.runtime.events import JobNotice, emit_job_event
from tasks.runtime.flow_run import API_KEY_BLOCK, BASE_URL, JOB_ID, JOB_IS_OURS, RUN_DIRECTORY, RUN_KEY, in_states
from tasks.runtime.provider_client import provider_client

Result = TypeVar("Result")

# Cheap for Prefect's server with hundreds of runs; a job that runs that much longer costs little.
_POLL_SECONDS = 10.0
_RUNS_PER_PAGE = 200
_CANCELLED = {StateType.CANCELLING, StateType.CANCELLED}
_LIVE = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED)
# A crashed run is rescheduled after 15 seconds, and continues with its job (see `deployments/automations.py`).
_RESCHEDULED_WITHIN = timedelta(minutes=2)
_PAUSES = (1.0, 3.0, 10.0)
_UNCLEAR = (5.0, 10.0, 20.0, 30.0)


async def cancel_job_of(
    flow_run_id: UUID, *, pauses_seconds: Sequence[float] = _PAUSES, unclear_pauses_seconds: Sequence[float] = _UNCLEAR
) -> None:
    """Cancel the job of a flow run that is over, and say in that run's log what was done. Doing it again is harmless.

    The job is found by the flow run's labels. It is left alone where it has ended, where the flow run was resumed,
    where another flow run with the same run key waits for it, and where it is not proven that this run created it.

    Args:
        flow_run_id: The flow run.
        pauses_seconds: Pauses between attempts while the provider can't be reached.
        unclear_pauses_seconds: Pauses while it lists no job: one whose request was not answered may be listed later.

    Raises:
        UnclearJobError: The provider may have made a job that it did not show within a minute.
        ProviderError: The provider refuses.
        openai.OpenAIError: It can't be reached.
        httpx.HTTPError: Prefect can't be reached.
        ObjectNotFound: There is no such flow run.
    """
    pauses, unclear_pauses = iter(pauses_seconds), iter(unclear_pauses_seconds)
    while True:
        # Anew each time: somebody may have started the run again meanwhile.
        async with get_client() as prefect:
            run = await prefect.read_flow_run(flow_run_id)
            reason = await _reason_to_leave_alone(prefect, run)
        if reason:
            flow_run_logger(run).info("No job is cancelled: %s.", reason)
            return
        try:
            await _cancel_jobs(run)
        except openai.OpenAIError as error:
            pause = next(pauses, None) if is_transient(error) else None
            if pause is None:
                raise
        except UnclearJobError as error:
            pause = next(unclear_pauses, None)
            if pause is None:
                raise
            flow_run_logger(run).warning("%s Checking again in %.0f s.", error.message, pause)
        else:
            return
        await asyncio.sleep(pause)


async def _reason_to_leave_alone(prefect: PrefectClient, run: FlowRun) -> str | None:
    if not run.labels.get(RUN_KEY):
        return "the run had not come to creating one"
    if run.state and run.state.type in _LIVE:
        return f"the run is {run.state.name}"
    async for other in _live_runs(prefect, run.flow_id):
        if other.id != run.id and other.labels.get(RUN_KEY) == run.labels[RUN_KEY]:
            return f"the flow run {other.name!r} ({other.id}) waits for the same one"
    return None


async def _live_runs(prefect: PrefectClient, flow_id: UUID) -> AsyncIterator[FlowRun]:
    just_now = FlowRunFilterEndTime(after_=datetime.now(UTC) - _RESCHEDULED_WITHIN)
    for wanted in (
        FlowRunFilter(state=in_states(*_LIVE)),
        FlowRunFilter(state=in_states(StateType.CRASHED), end_time=just_now),
    ):
        async for run in _each_run(prefect, flow_id, wanted):
            yield run


async def _each_run(prefect: PrefectClient, flow_id: UUID, wanted: FlowRunFilter) -> AsyncIterator[FlowRun]:
    flow = FlowFilter(id=FlowFilterId(any_=[flow_id]))
    for offset in itertools.count(0, _RUNS_PER_PAGE):
        page = await prefect.read_flow_runs(
            flow_filter=flow, flow_run_filter=wanted, limit=_RUNS_PER_PAGE, offset=offset
        )
        for run in page:
            yield run
        if len(page) < _RUNS_PER_PAGE:
            return


async def _cancel_jobs(run: FlowRun) -> None:
    labels = {name: str(value) for name, value in run.labels.items()}
    provider = ProviderConfig(base_url=labels[BASE_URL], api_key_block=labels.get(API_KEY_BLOCK, ""))
    journal = _journal(labels)
    async with await provider_client(provider) as client:
        if job_id := labels.get(JOB_ID):
            await _cancel_followed(client, run, job_id, labels)
            if journal is None or not journal.unclear:
                return
        # The process ended between asking for a job and hearing its name, or an earlier answer was lost.
        for job in await _own_jobs(client, run, journal, labels):
            await _cancel_one(client, run, job, labels)


async def _cancel_followed(client: AsyncOpenAI, run: FlowRun, job_id: str, labels: dict[str, str]) -> None:
    job = await retrieve_job(client, job_id)
    if run_key_of(job) == labels[RUN_KEY] or labels.get(JOB_IS_OURS, "yes") == "yes":
        await _cancel_one(client, run, job, labels)
    else:
        flow_run_logger(run).warning("%s is not cancelled: it can't be proven that this run created it.", job_id)


async def _own_jobs(
    client: AsyncOpenAI, run: FlowRun, journal: JobJournal | None, labels: dict[str, str]
) -> list[FineTuningJob]:
    """Jobs that this flow run is proven to have created, and that its labels do not name.

    Raises:
        UnclearJobError: There may be one that was not seen.
    """
    found = await find_own_jobs(client, labels[RUN_KEY], journal, None)
    known = {job.id for job in found.jobs} | {labels.get(JOB_ID)}
    recorded = [str(attempt.job_id) for attempt in journal.recorded if attempt.is_ours] if journal else []
    jobs = [job for job in found.jobs if job.id in found.ours and job.id != labels.get(JOB_ID)]
    jobs += [await retrieve_job(client, job_id) for job_id in recorded if job_id not in known]
    if jobs or (journal is not None and not journal.unclear):
        return jobs
    if labels.get(JOB_ID):
        flow_run_logger(run).warning(
            "The answer to an earlier request for a job was lost. If the provider made one, it is not listed yet: look "
            "with `retune jobs list`, and cancel it with `retune jobs cancel`."
        )
    elif journal is not None:
        raise UnclearJobError("The provider gave no clear answer to the request for a job, and lists none yet.")
    elif found.problem:
        raise UnclearJobError(f"Whether this run has a job is not known ({found.problem}).")
    else:
        flow_run_logger(run).info("No job is cancelled: the provider lists none of this run.")
    return jobs


def _journal(labels: dict[str, str]) -> JobJournal | None:
    """The journal of the run, where its directory is on this machine."""
    directory = labels.get(RUN_DIRECTORY)
    return JobJournal(Path(directory), labels[RUN_KEY]) if directory and Path(directory).is_dir() else None


async def _cancel_one(client: AsyncOpenAI, run: FlowRun, job: FineTuningJob, labels: dict[str, str]) -> None:
    logger = flow_run_logger(run)
    if not has_ended(job):
        try:
            job = await cancel_job(client, job.id)
        except ProviderError:
            job = await retrieve_job(client, job.id)
            if not has_ended(job):
                raise
        else:
            logger.info("Cancelled the fine-tuning job %s, because its flow run was cancelled.", job.id)
            notice = JobNotice(
                job_id=job.id,
                model=job.model,
                provider_url=labels[BASE_URL],
                run_key=labels[RUN_KEY],
                error="Its flow run was cancelled.",
            )
            emit_job_event("cancelled", notice)
            return
    logger.info("The fine-tuning job %s is left alone: it has ended (%s).", job.id, job.status)


async def run_until_cancelled(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine until it returns or this flow run is cancelled; then its job is cancelled too.

    A worker ends the process by itself; this is for where none does, as after a state was set by hand.

    Raises:
        CancelledRun: The flow run was cancelled.
    """
    flow_run_id = this_flow_run.get_id()
    if flow_run_id is None:
        return await work
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_wait_until_cancelled(UUID(flow_run_id)))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
    raise await end_cancelled_run(UUID(flow_run_id))


async def _wait_until_cancelled(flow_run_id: UUID) -> None:
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        if await is_cancelled(flow_run_id):
            return


async def is_cancelled(flow_run_id: UUID) -> bool:
    """Whether Prefect says so; while it can't be asked, it doesn't."""
    try:
        async with get_client() as prefect:
            run = await prefect.read_flow_run(flow_run_id)
    except (httpx.HTTPError, PrefectException):
        return False
    return run.state is not None and run.state.type in _CANCELLED


async def end_cancelled_run(flow_run_id: UUID) -> CancelledRun:
    """Cancel the job of this flow run, and end the run itself where nobody else does.

    Returns:
        What is to be raised then.
    """
    try:
        await cancel_job_of(flow_run_id)
    except (RetuneError, openai.OpenAIError, httpx.HTTPError, PrefectException) as error:
        log_not_cancelled(error, flow_run_id)
    async with get_client() as prefect:
        state = (await prefect.read_flow_run(flow_run_id)).state
        if state and state.type is StateType.CANCELLING:
            # A run that nobody else ends would stay so.
            await prefect.set_flow_run_state(flow_run_id, Cancelled(), force=True)
    return CancelledRun("The flow run was cancelled.")


async def raise_if_cancelled() -> None:
    """Return, unless this flow run was cancelled.

    Raises:
        CancelledRun: It was.
    """
    flow_run_id = this_flow_run.get_id()
    if flow_run_id and await is_cancelled(UUID(flow_run_id)):
        raise await end_cancelled_run(UUID(flow_run_id))


def log_not_cancelled(error: Exception, flow_run_id: UUID) -> None:
    """Log that the job of a cancelled flow run may still run."""
    flow_run_logger(flow_run_id=flow_run_id).error(
        "The job of this run could not be cancelled, and may still run: %s Look with `retune jobs list`, and cancel it "
        "with `retune jobs cancel`.",
        one_line(error),
    )


@contextmanager
def abort_on_cancel() -> Iterator[None]:
    """End a flow whose run was cancelled without another state: Prefect would show it as failed."""
    try:
        yield
    except CancelledRun as cancelled:
        raise Abort(str(cancelled)) from None
