"""Bring a file to the provider, once."""

from prefect import task

from retune.config import ProviderConfig
from retune.data.jsonl import FileFacts
from retune.provider.client import build_client
from retune.provider.files import upload_once
from retune.run import Run
from tasks.policies import PERSISTED, retried
from tasks.values import Upload


# Not cached: the provider is asked what it has, because a file that was deleted there can't be trained on.
@task(**retried(2, 10, 30, 60), **PERSISTED)
async def upload_file(run: Run, file: FileFacts, provider: ProviderConfig) -> Upload:
    """Upload a training or validation file under a name made of the run key, unless it is there already.

    Raises:
        ProviderError: The provider refuses it.
    """
    async with build_client(provider) as client:
        uploaded = await upload_once(client, file.path, filename=f"{run.key}-{file.path.name}")
    return Upload(name=file.path.name, file=uploaded)
