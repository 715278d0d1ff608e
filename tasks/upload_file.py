"""Bring a file to the provider, once."""

import asyncio

from openai import AsyncOpenAI

from retune.config import ProviderConfig
from retune.data.dataset.training_files import require_unchanged
from retune.data.text.jsonl import FileFacts
from retune.provider.files import UploadedFile, upload_once
from retune.provider.job_journal import JobJournal
from retune.provider.own_jobs import recorded_job
from retune.run import Run
from tasks.runtime.progress import ProgressReport
from tasks.runtime.provider_client import provider_client
from tasks.runtime.steps import PERSISTED, retried, step
from tasks.runtime.values import Upload

_NOT_TOLD_BEFORE_SECONDS = 3.0
_MEGABYTE = 1_000_000


def uploaded_name(run: Run, file: FileFacts) -> str:
    """A file's name at the provider."""
    return f"{run.key}-{file.path.name}"


# Not cached: the provider is asked what it has, because a file that was deleted there can't be trained on.
@step("upload", **retried(2, 10, 30, 60), **PERSISTED)
async def upload_file(run: Run, file: FileFacts, provider: ProviderConfig) -> Upload:
    """Upload a training or validation file under a name made of the run key, unless it is there already.

    A run whose job exists uploads nothing, whether or not the provider still has its files. A file past the provider's
    limit for one request goes up in parts, and reports its progress.

    Raises:
        ProviderError: The provider refuses it, or it is larger than providers take.
        RunDirectoryError: The file is not what was written.
    """
    progress = ProgressReport(
        key=f"upload-{file.path.stem}-{run.key[:12]}",
        step="upload",
        description=f"Megabytes sent of {file.path.name}",
        unit="MB",
        after_seconds=_NOT_TOLD_BEFORE_SECONDS,
    )
    await asyncio.to_thread(require_unchanged, file)
    async with await provider_client(provider) as client, progress:
        if used := await _used_by_job(client, run, file):
            return Upload(name=file.path.name, file=used)
        uploaded = await upload_once(
            client,
            file.path,
            filename=uploaded_name(run, file),
            on_progress=lambda sent, total: progress.advance(sent // _MEGABYTE, total // _MEGABYTE),
        )
    return Upload(name=file.path.name, file=uploaded)


async def _used_by_job(client: AsyncOpenAI, run: Run, file: FileFacts) -> UploadedFile | None:
    job = await recorded_job(client, JobJournal(run.directory, run.key), None)
    file_id = job and (job.validation_file if file.path.stem == "validation" else job.training_file)
    if not file_id:
        return None
    return UploadedFile(file_id=file_id, filename=uploaded_name(run, file), bytes=file.bytes, adopted=True)
