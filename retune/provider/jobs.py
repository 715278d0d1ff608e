"""Creating one job per intent, and no second one, whatever goes wrong in between."""

from typing import Any

import openai
from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob
from pydantic import BaseModel, ConfigDict

from retune.config import TrainingConfig
from retune.errors import ProviderError
from retune.provider.errors import provider_call
from retune.provider.paging import each_once

RUN_KEY = "run_key"
_JOBS_PER_PAGE = 100
ENDED_WITHOUT_MODEL = frozenset({"failed", "cancelled"})
ENDED = ENDED_WITHOUT_MODEL | {"succeeded"}


class StartedJob(BaseModel):
    """A job that stands for this run.

    Attributes:
        adopted: An earlier attempt had created it.
        duplicates_cancelled: Ids of later jobs for the same run that were found active, and cancelled.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str
    status: str
    adopted: bool
    duplicates_cancelled: list[str] = []


async def create_job_once(
    client: AsyncOpenAI,
    training: TrainingConfig,
    *,
    run_key: str,
    training_file: str,
    validation_file: str | None,
) -> StartedJob:
    """Adopt the job that carries this run key, or create it.

    A job that failed or was cancelled is not adopted: running again then means trying again. After a creation the
    list is read once more, because somebody else may have created one at the same moment: the oldest stays.

    Raises:
        ProviderError: The provider refuses the job.
        openai.OpenAIError: A transient failure; calling again first looks whether the job came into being.
    """
    known = await find_jobs(client, run_key, training_file)
    usable = [job for job in known if job.status not in ENDED_WITHOUT_MODEL]
    if usable:
        return await _keep_oldest(client, usable, created=None)
    async with provider_call("creating the fine-tuning job"):
        created = await client.fine_tuning.jobs.create(
            **_request(training, run_key, training_file, validation_file),
            # Retune's server honours it; elsewhere it is ignored. Another request, such as the one after a failed job,
            # needs another key.
            extra_headers={"Idempotency-Key": f"{run_key}-{len(known)}-{training_file}"},
        )
    same_run = [job for job in await find_jobs(client, run_key, training_file) if job.status not in ENDED_WITHOUT_MODEL]
    return await _keep_oldest(client, same_run or [created], created=created.id)


async def find_jobs(client: AsyncOpenAI, run_key: str, training_file: str) -> list[FineTuningJob]:
    """All jobs of this run, oldest first.

    They are told by the run key in their metadata. Hosts that keep no metadata still say which training file a job
    uses, and that file's name holds the run key.
    """
    found: dict[str, FineTuningJob] = {}
    async with provider_call("looking for an existing job"):
        async for job in each_once(client.fine_tuning.jobs.list(metadata={RUN_KEY: run_key}, limit=_JOBS_PER_PAGE)):
            if _belongs(job, run_key, training_file):
                found[job.id] = job
    # The list is newest first. Within one second its order decides, because it is the same for everybody who looks.
    oldest_first = list(found.values())[::-1]
    return sorted(oldest_first, key=lambda job: job.created_at)


def _belongs(job: FineTuningJob, run_key: str, training_file: str) -> bool:
    # A host may ignore the filter and list everybody's jobs, so each one is looked at.
    if job.metadata and RUN_KEY in job.metadata:
        return job.metadata[RUN_KEY] == run_key
    return job.training_file == training_file


async def _keep_oldest(client: AsyncOpenAI, jobs: list[FineTuningJob], created: str | None) -> StartedJob:
    succeeded = [job for job in jobs if job.status == "succeeded"]
    kept = (succeeded or jobs)[0]
    duplicates = [job.id for job in jobs if job.id != kept.id and job.status not in ENDED]
    cancelled = [job_id for job_id in duplicates if await _cancel_duplicate(client, job_id)]
    return StartedJob(job_id=kept.id, status=kept.status, adopted=kept.id != created, duplicates_cancelled=cancelled)


async def _cancel_duplicate(client: AsyncOpenAI, job_id: str) -> bool:
    try:
        await cancel_job(client, job_id)
    except ProviderError:
        # Somebody else who found it may have been quicker.
        if (await retrieve_job(client, job_id)).status in ENDED:
            return False
        raise
    return True


async def cancel_job(client: AsyncOpenAI, job_id: str) -> FineTuningJob:
    """Cancel a job.

    Raises:
        ProviderError: There is no such job, or it has ended already.
        openai.OpenAIError: A transient failure.
    """
    async with provider_call(f"cancelling {job_id}"):
        return await client.fine_tuning.jobs.cancel(job_id)


async def list_jobs(client: AsyncOpenAI, limit: int) -> list[FineTuningJob]:
    """The newest jobs, newest first, at most `limit`.

    Raises:
        ProviderError: The provider refuses.
        openai.OpenAIError: A transient failure.
    """
    found: list[FineTuningJob] = []
    async with provider_call("listing jobs"):
        async for job in each_once(client.fine_tuning.jobs.list(limit=min(limit, _JOBS_PER_PAGE))):
            found.append(job)
            if len(found) == limit:
                break
    return found


async def retrieve_job(client: AsyncOpenAI, job_id: str) -> FineTuningJob:
    """One job.

    Raises:
        ProviderError: There is no such job.
        openai.OpenAIError: A transient failure.
    """
    async with provider_call(f"looking at {job_id}"):
        return await client.fine_tuning.jobs.retrieve(job_id)


def _request(training: TrainingConfig, run_key: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": training.model,
        "training_file": training_file,
        "validation_file": validation_file or openai.omit,
        "suffix": training.suffix or openai.omit,
        "method": {
            "type": training.method,
            training.method: {"hyperparameters": training.hyperparameters.model_dump()},
        },
        "metadata": {RUN_KEY: run_key},
    }
    if training.seed != "auto":
        request["seed"] = training.seed
    return request
