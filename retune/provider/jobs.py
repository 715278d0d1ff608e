"""Single requests about fine-tuning jobs."""

from collections.abc import Container

from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from retune.errors import UnexpectedAnswerError
from retune.provider.errors import provider_call
from retune.provider.paging import page_of, read_list

_JOBS_PER_PAGE = 100


async def cancel_job(client: AsyncOpenAI, job_id: str) -> FineTuningJob:
    """Cancel a job.

    Raises:
        ProviderError: There is no such job, or it has ended already.
        openai.OpenAIError: A transient failure.
    """
    async with provider_call(f"cancelling {job_id}"):
        return require_job(await client.fine_tuning.jobs.cancel(job_id))


async def list_jobs(client: AsyncOpenAI, limit: int) -> list[FineTuningJob]:
    """The newest jobs, newest first, at most `limit`.

    Raises:
        ProviderError: The provider refuses.
        openai.OpenAIError: A transient failure.
    """
    jobs = client.fine_tuning.jobs
    async with provider_call("listing jobs"):
        listing = await read_list(
            lambda after, size: jobs.list(**page_of(after, size)), limit=min(limit, _JOBS_PER_PAGE), most=limit
        )
    return listing.items


async def retrieve_job(client: AsyncOpenAI, job_id: str, *, passed_on: Container[int] = ()) -> FineTuningJob:
    """One job.

    Args:
        client: Who asks.
        job_id: The job.
        passed_on: HTTP statuses that the caller understands, and gets as they are.

    Raises:
        ProviderError: There is no such job.
        UnexpectedAnswerError: What answers is not the API.
        openai.OpenAIError: A transient failure.
    """
    async with provider_call(f"looking at {job_id}", passed_on=passed_on):
        return require_job(await client.fine_tuning.jobs.retrieve(job_id))


def require_job(answer: object) -> FineTuningJob:
    """The job that a request was answered with: the SDK hands on a page of text as it is.

    Raises:
        UnexpectedAnswerError: It is none.
    """
    if not isinstance(answer, FineTuningJob) or not answer.id:
        raise UnexpectedAnswerError("What answers is not the API: a job was expected.", hint="Check the address.")
    return answer


async def list_checkpoints(client: AsyncOpenAI, job_id: str) -> list[FineTuningJobCheckpoint]:
    """The job's checkpoints, the earliest step first.

    Raises:
        ProviderError: The provider knows no such job.
        openai.OpenAIError: A transient failure.
    """
    async with provider_call(f"listing checkpoints of {job_id}"):
        listing = await read_list(
            lambda after, limit: client.fine_tuning.jobs.checkpoints.list(job_id, **page_of(after, limit)), limit=None
        )
    return sorted(listing.items, key=lambda checkpoint: checkpoint.step_number)
