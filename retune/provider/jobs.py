"""Single requests about fine-tuning jobs."""

from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob

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
        return await client.fine_tuning.jobs.cancel(job_id)


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


async def retrieve_job(client: AsyncOpenAI, job_id: str) -> FineTuningJob:
    """One job.

    Raises:
        ProviderError: There is no such job.
        openai.OpenAIError: A transient failure.
    """
    async with provider_call(f"looking at {job_id}"):
        return await client.fine_tuning.jobs.retrieve(job_id)
