"""At most so many fine-tuning jobs of one model family at once, as a global concurrency limit in Prefect says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

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

from retune.config import ProviderConfig, TrainingConfig
from retune.data.models import limit_name, model_family
from retune.provider.job_journal import JobJournal
from retune.provider.one_job import job_request
from retune.provider.own_jobs import existing_job
from retune.provider.statuses import JobState, job_state
from retune.run import Run
from tasks.cancelling import leave_if_cancelled
from tasks.policies import retried
from tasks.provider_client import provider_client
from tasks.values import Upload

_LOOK_EVERY_SECONDS = 20.0
_PAUSES_SECONDS = (2.0, 10.0, 30.0)
_LOCKED = 423


@asynccontextmanager
async def job_slot(
    run: Run, training: TrainingConfig, training_file: Upload, provider: ProviderConfig
) -> AsyncIterator[None]:
    """Hold one place of the model family's limit while the block creates a job and waits for its end.

    A run whose job has ended needs no place. One whose job goes on takes a place if there is one, and waits for none:
    the job is there already, and the place may still be held by the process that made it and was killed. Without
    such a limit nothing is held. Where Prefect can't be asked for a while the run goes on without a place.

    Raises:
        CancelledRun: The flow run was cancelled while it waited.
        ProviderError: The provider refuses to say which jobs there are.
    """
    slot = AsyncExitStack()
    if limit := await _read_limit(limit_name(model_family(training.model))):
        state = await find_job(run, training, training_file, provider)
        if state != "succeeded":
            await _take_place(slot, limit, waits=state is None)
    try:
        yield
    finally:
        await _give_back(slot)


# Not cached: a job may end at any moment, and Prefect would give a run that is taken up again what it found before.
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
        get_run_logger().warning("The concurrency limit %s could not be read; going on without it: %s", name, error)
        return None
    return limit if limit.active else None


async def _take_place(slot: AsyncExitStack, limit: GlobalConcurrencyLimitResponse, *, waits: bool) -> None:
    failures = iter(_PAUSES_SECONDS)
    has_told = False
    while True:
        try:
            await slot.enter_async_context(_place(limit.name, waits=has_told))
        except AcquireConcurrencySlotTimeoutError:
            await leave_if_cancelled()
        except ConcurrencySlotAcquisitionError as error:
            if _is_full(error):
                if not waits:
                    return
                _tell_waiting(limit)
                has_told = True
            elif (pause := next(failures, None)) is not None:
                await asyncio.sleep(pause)
            else:
                get_run_logger().warning("Going on without a place in the limit %s: %s", limit.name, error.__cause__)
                return
        else:
            return


def _place(name: str, *, waits: bool) -> AbstractAsyncContextManager[None]:
    # A lost lease is a place too many for a while; ending the run would lose what the job costs.
    if waits:
        return concurrency(name, timeout_seconds=_LOOK_EVERY_SECONDS, raise_on_lease_renewal_failure=False)
    return concurrency(name, max_retries=0, raise_on_lease_renewal_failure=False)


def _is_full(error: ConcurrencySlotAcquisitionError) -> bool:
    cause = error.__cause__
    return isinstance(cause, httpx.HTTPStatusError) and cause.response.status_code == _LOCKED


def _tell_waiting(limit: GlobalConcurrencyLimitResponse) -> None:
    get_run_logger().info(
        "Waiting for another job to end: the limit %s allows %d at once.",
        limit.name,
        limit.limit,
        extra={"for_people": True},
    )


async def _give_back(slot: AsyncExitStack) -> None:
    try:
        await slot.aclose()
    except (httpx.HTTPError, PrefectException) as error:
        # It is given back by itself when its lease is over, in five minutes at most.
        get_run_logger().warning("The place in the concurrency limit could not be given back: %s", error)
