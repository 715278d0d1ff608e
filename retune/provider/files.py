"""Uploading a file once, however often it is asked for."""

import asyncio
from pathlib import Path

from openai import AsyncOpenAI
from pydantic import BaseModel, ConfigDict

from retune.provider.errors import provider_call
from retune.provider.paging import each_once


class UploadedFile(BaseModel):
    """A file at the provider.

    Attributes:
        adopted: It was there already, from an earlier attempt.
    """

    model_config = ConfigDict(frozen=True)

    file_id: str
    filename: str
    bytes: int
    adopted: bool


async def upload_once(client: AsyncOpenAI, path: Path, *, filename: str) -> UploadedFile:
    """Upload a training file under `filename`, unless the provider has it already.

    The name must be derived from the content, so that same name and same size mean same file.

    Raises:
        ProviderError: The provider refuses the file.
        openai.OpenAIError: A transient failure; calling again never leaves two files that are both used.
    """
    size = (await asyncio.to_thread(path.stat)).st_size
    if found := await _find_file(client, filename, size):
        return UploadedFile(file_id=found, filename=filename, bytes=size, adopted=True)
    async with provider_call(f"uploading {filename}"):
        # A path inside a tuple would be read into memory before it is sent; an open file is streamed.
        with path.open("rb") as stream:
            file = await client.files.create(file=(filename, stream), purpose="fine-tune")
    # Somebody else may have uploaded it at the same moment: both then go on with the older one.
    kept = await _find_file(client, filename, size) or file.id
    return UploadedFile(file_id=kept, filename=filename, bytes=size, adopted=kept != file.id)


async def _find_file(client: AsyncOpenAI, filename: str, size: int) -> str | None:
    async with provider_call("listing files"):
        same = [
            file
            async for file in each_once(client.files.list(purpose="fine-tune"))
            if file.filename == filename and file.bytes == size and file.status not in {"error", "deleted"}
        ]
    # The list is newest first; within one second its order decides, which is the same for everybody.
    return min(reversed(same), key=lambda file: file.created_at).id if same else None
