"""Bring a file to the provider, once."""

import asyncio

from prefect import task

from retune.config import ProviderConfig
from retune.data.jsonl import FileFacts
from retune.data.store.training_files import require_unchanged
from retune.provider.files import upload_once
from retune.run import Run
from tasks.policies import PERSISTED, retried
from tasks.progress import ProgressReport
from tasks.provider_client import provider_client
from tasks.values import Upload

_NOT_TOLD_BEFORE_SECONDS = 3.0
_MEGABYTE = 1_000_000


def uploaded_name(run: Run, file: FileFacts) -> str:
    """A file's name at the provider."""
    return f"{run.key}-{file.path.name}"


# Not cached: the provider is asked what it has, because a file that was deleted there can't be trained on.
@task(**retried(2, 10, 30, 60), **PERSISTED)
async def upload_file(run: Run, file: FileFacts, provider: ProviderConfig) -> Upload:
    """Upload a training or validation file under a name made of the run key, unless it is there already.

    A file past the provider's limit for one request goes up in parts, and tells how far it is.

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
        uploaded = await upload_once(
            client,
            file.path,
            filename=uploaded_name(run, file),
            on_progress=lambda sent, total: progress.advance(sent // _MEGABYTE, total // _MEGABYTE),
        )
    return Upload(name=file.path.name, file=uploaded)
