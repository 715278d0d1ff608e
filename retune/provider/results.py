"""Fetching what a job left behind: result files and checkpoints."""

import re
from collections.abc import Sequence
from pathlib import Path

from openai import AsyncOpenAI
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from retune.files import write_bytes
from retune.provider.errors import provider_call
from retune.provider.paging import page_of, read_list


async def download_result_files(client: AsyncOpenAI, file_ids: Sequence[str], directory: Path) -> list[Path]:
    """Download result files byte for byte, each under its id; one that is there already is not fetched again.

    Raises:
        ProviderError: The provider has no such file, or won't hand it out.
        openai.OpenAIError: A transient failure.
    """
    paths = []
    for file_id in file_ids:
        # The id comes from the wire and must not lead out of the directory.
        path = directory / f"{re.sub(r'[^A-Za-z0-9_-]', '_', file_id)}.csv"
        if not path.exists():
            async with provider_call(f"downloading {file_id}"):
                content = await client.files.content(file_id)
            write_bytes(path, content.content)
        paths.append(path)
    return paths


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
