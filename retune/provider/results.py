"""Fetching what a job left behind: result files and checkpoints."""

import re
from collections.abc import Sequence
from pathlib import Path

from openai import AsyncOpenAI
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from retune.errors import ProviderError
from retune.files import atomic_write
from retune.provider.errors import provider_call
from retune.provider.paging import page_of, read_list

# A million steps; a provider that never stops sending must not fill the disk.
_MOST_BYTES = 256 * 1024 * 1024


async def download_result_files(
    client: AsyncOpenAI, file_ids: Sequence[str], directory: Path, *, most_bytes: int = _MOST_BYTES
) -> list[Path]:
    """Download result files byte for byte, each under its id; one that is there already is not fetched again.

    Raises:
        ProviderError: The provider has no such file, won't hand it out, or sends more than `most_bytes` of one.
        openai.OpenAIError: A transient failure.
    """
    paths = []
    for file_id in file_ids:
        # The id comes from the wire and must not lead out of the directory.
        path = directory / f"{re.sub(r'[^A-Za-z0-9_-]', '_', file_id)}.csv"
        if not path.exists():
            await _download(client, file_id, path, most_bytes)
        paths.append(path)
    return paths


async def _download(client: AsyncOpenAI, file_id: str, path: Path, most_bytes: int) -> None:
    size = 0
    with atomic_write(path) as stream:
        async with (
            provider_call(f"downloading {file_id}"),
            client.files.with_streaming_response.content(file_id) as content,
        ):
            async for piece in content.iter_bytes():
                size += len(piece)
                if size > most_bytes:
                    raise ProviderError(
                        f"The result file {file_id} has more than {most_bytes:,} bytes, more than a line a step.",
                        hint="Look at it at the provider: it is probably not a table of training metrics.",
                    )
                stream.write(piece)


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
