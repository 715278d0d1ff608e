"""Files at the provider: an upload happens once, however often it is asked for; result files are downloaded."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from openai import AsyncOpenAI
from pydantic import BaseModel, ConfigDict

from retune.errors import ProviderError
from retune.files import atomic_write
from retune.provider.errors import provider_call
from retune.provider.paging import page_of, read_list
from retune.provider.uploads import LIMITS, Progress, UploadLimits, upload_in_parts

# A million steps; a provider that never stops sending must not fill the disk.
_MAX_RESULT_FILE_BYTES = 256 * 1024 * 1024


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


async def upload_once(
    client: AsyncOpenAI,
    path: Path,
    *,
    filename: str,
    limits: UploadLimits = LIMITS,
    on_progress: Progress = lambda _sent, _total: None,
) -> UploadedFile:
    """Upload a training file under `filename`, unless the provider has it already; a large one in parts.

    The name must be derived from the content, so that same name and same size mean same file.

    Args:
        client: Who asks.
        path: The file; it is read piece by piece.
        filename: Its name at the provider.
        limits: From which size on it goes up in parts, and how large it may be.
        on_progress: Called after each part.

    Raises:
        ProviderError: The file is too large, or the provider refuses it.
        openai.OpenAIError: A transient failure; calling again never leaves two files that are both used.
    """
    size = (await asyncio.to_thread(path.stat)).st_size
    if size > limits.total_bytes:
        raise ProviderError(
            f"{path} has {size:,} bytes; providers take files of at most {limits.total_bytes:,}.",
            hint="Train on fewer examples; nothing was uploaded.",
        )
    if found := await find_file(client, filename, size):
        return UploadedFile(file_id=found, filename=filename, bytes=size, adopted=True)
    if size > limits.single_bytes:
        made = await _upload_in_parts(
            client, path, filename=filename, size=size, limits=limits, on_progress=on_progress
        )
    else:
        made = await _upload_at_once(client, path, filename)
    # Somebody else may have uploaded it at the same moment: both then go on with the older one.
    kept = await find_file(client, filename, size) or made
    return UploadedFile(file_id=kept, filename=filename, bytes=size, adopted=kept != made)


async def _upload_at_once(client: AsyncOpenAI, path: Path, filename: str) -> str:
    async with provider_call(f"uploading {filename}"):
        # A path inside a tuple would be read into memory before it is sent; an open file is streamed.
        with path.open("rb") as stream:
            file = await client.files.create(file=(filename, stream), purpose="fine-tune")
    return file.id


async def _upload_in_parts(
    client: AsyncOpenAI, path: Path, *, filename: str, size: int, limits: UploadLimits, on_progress: Progress
) -> str:
    try:
        return await upload_in_parts(client, path, filename=filename, size=size, limits=limits, on_progress=on_progress)
    except ProviderError:
        # Completing may have succeeded with its answer lost, and been refused when it was asked for again.
        if found := await find_file(client, filename, size):
            return found
        raise


async def find_file(client: AsyncOpenAI, filename: str, size: int) -> str | None:
    """Id of the oldest file of this name and size, in bytes; None where the provider has none.

    Raises:
        ProviderError: The provider refuses.
        openai.OpenAIError: A transient failure.
    """
    async with provider_call("listing files"):
        listing = await read_list(
            lambda after, limit: client.files.list(purpose="fine-tune", **page_of(after, limit)), limit=None
        )
    same = [
        file
        for file in listing.items
        if file.filename == filename and file.bytes == size and file.status not in {"error", "deleted"}
    ]
    # Within one second the id decides, which is the same for everybody.
    return min(same, key=lambda file: (file.created_at, file.id)).id if same else None


async def download_result_files(
    client: AsyncOpenAI, file_ids: Sequence[str], directory: Path, *, most_bytes: int = _MAX_RESULT_FILE_BYTES
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
