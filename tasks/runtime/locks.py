"""One process for each run, and at most as many jobs of a model family as a concurrency limit in Prefect allows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager

import httpx
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.concurrency.asyncio import (
    AcquireConcurrencySlotTimeoutError,
    ConcurrencySlotAcquisitionError,
    concurrency,
)
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.runtime import deployment

from retune.config import ProviderConfig, TrainingConfig
from retune.data.cost.base_models import limit_name, model_family
from retune.errors import RunBusyError
from retune.provider.job_journal import JobJournal
from retune.provider.one_job import job_request
from retune.provider.own_jobs import existing_job
from retune.provider.statuses import JobState, job_state
from retune.run import Run, exclusive
from tasks.runtime.cancelling import raise_if_cancelled
from tasks.runtime.provider_client import provider_client
from tasks.runtime.steps import retried
from tasks.runtime.values import Upload

_SECONDS_BETWEEN_TRIES = 10.0
_SLOT_TIMEOUT_SECONDS = 20.0
_PAUSES_SECONDS = (2.0, 10.0, 30.0)
_LOCKED = 423


@asynccontextmanager
async def exclusive_run(run: Run) -> AsyncIterator[None]:
    """Hold the run's directory while the block runs.

    A flow run of a deployment waits for the process that has it, and then finds what that one did: two schedules may
    mean the same run, and one that Prefect took for dead may still be alive. Elsewhere a person waits for the answer.

    Raises:
        RunBusyError: Another process is working on the same run, and this run does not belong to a deployment.
        RunDirectoryError: Somebody removed files of it.
        CancelledRun: The flow run was cancelled while it waited.
    """
    with ExitStack() as stack:
        has_logged = False
        while True:
            try:
                stack.enter_context(exclusive(run))
            except RunBusyError as busy:
                if not has_logged and deployment.id is None:
                    raise
                if not has_logged:
                    get_run_logger().info("%s This flow run continues when that one has ended.", busy.message)
                    has_logged = True
                await asyncio.sleep(_SECONDS_BETWEEN_TRIES)
                await raise_if_cancelled()
            else:
                break
        yield


@asynccontextmanager
async def job_slot(
    run: Run, training: TrainingConfig, training_file: Upload, provider: ProviderConfig
) -> AsyncIterator[None]:
    """Hold one place of the model family's limit while the block creates a job and waits for its end.

    A run whose job has ended needs no place. One whose job is running takes a free place, and does not wait for one:
    the job is there already, and the place may still be held by the process that made it and was killed. Without
    such a limit nothing is held. While Prefect can't be reached the run continues without a place.

    Raises:
        CancelledRun: The flow run was cancelled while it waited.
        ProviderError: The provider refuses to say which jobs there are.
    """
    slot = AsyncExitStack()
    if limit := await _read_limit(limit_name(model_family(training.model))):
        state = await find_job(run, training, training_file, provider)
        if state != "succeeded":
            await _acquire_slot(slot, limit, waits=state is None)
    try:
        yield
    finally:
        await _release(slot)


# Not cached: a job may end at any moment, and Prefect would give a rescheduled run what it found before.
@task(**retried(2, 10, 30, 60), cache_policy=NO_CACHE, persist_result=False)
async def find_job(
    run: Run, training: TrainingConfig, training_file: Upload, provider: ProviderConfig
) -> JobState | None:
    """State of this run's job: an earlier attempt may have made it. None where there is none to continue with.

    Raises:
        ProviderError: The provider refuses to say which jobs there are.
    """
    async with await provider_client(provider) as client:
        file_id = training_file.file.file_id
        request = job_request(training, run_key=run.key, training_file=file_id, validation_file=None)
        job = await existing_job(client, JobJournal(run.directory, run.key), request)
    return job_state(job) if job else None


async def _read_limit(name: str) -> GlobalConcurrencyLimitResponse | None:
    try:
        async with get_client() as client:
            limit = await client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        return None
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("The concurrency limit %s could not be read; continuing without it: %s", name, error)
        return None
    return limit if limit.active else None


async def _acquire_slot(slot: AsyncExitStack, limit: GlobalConcurrencyLimitResponse, *, waits: bool) -> None:
    failures = iter(_PAUSES_SECONDS)
    has_logged = False
    while True:
        try:
            await slot.enter_async_context(_slot(limit.name, waits=has_logged))
        except AcquireConcurrencySlotTimeoutError:
            await raise_if_cancelled()
        except ConcurrencySlotAcquisitionError as error:
            if _is_full(error):
                if not waits:
                    return
                _log_waiting(limit)
                has_logged = True
            elif (pause := next(failures, None)) is not None:
                await asyncio.sleep(pause)
            else:
                get_run_logger().warning("Continuing without a place in the limit %s: %s", limit.name, error.__cause__)
                return
        else:
            return


def _slot(name: str, *, waits: bool) -> AbstractAsyncContextManager[None]:
    # A lost lease is a place too many for a while; ending the run would lose what the job costs.
    if waits:
        return concurrency(name, timeout_seconds=_SLOT_TIMEOUT_SECONDS, raise_on_lease_renewal_failure=False)
    return concurrency(name, max_retries=0, raise_on_lease_renewal_failure=False)


def _is_full(error: ConcurrencySlotAcquisitionError) -> bool:
    cause = error.__cause__
    return isinstance(cause, httpx.HTTPStatusError) and cause.response.status_code == _LOCKED


def _log_waiting(limit: GlobalConcurrencyLimitResponse) -> None:
    get_run_logger().info(
        "Waiting for another job to end: the limit %s allows %d at once.",
        limit.name,
        limit.limit,
        extra={"user_facing": True},
    )


async def _release(slot: AsyncExitStack) -> None:
    try:
        await slot.aclose()
    except (httpx.HTTPError, PrefectException) as error:
        # It is released by itself when its lease is over, in five minutes at most.
        get_run_logger().warning("The place in the concurrency limit could not be released: %s", error)
