"""Sending a large file in parts, which the provider makes one file of."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import openai
from openai import AsyncOpenAI

from retune.errors import ProviderError, UnexpectedAnswerError
from retune.provider.errors import is_transient, provider_call, retry_after_seconds

Answer = TypeVar("Answer")
Progress = Callable[[int, int], None]
"""Called with the bytes that were sent, and those that there are."""

_MIME_TYPE = "text/jsonl"
_CANCEL_WITHIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How large a file, and each piece of it, may be.

    From the API's reference, "Upload file" and "Uploads": 512 MB a file, 64 MB a part, 8 GB in all. It doesn't say
    which megabytes: files and parts keep both readings, and between the two of 8 GB the provider decides, before
    anything is sent.

    Attributes:
        single_bytes: Larger files go up in parts.
        part_bytes: Size of each part but the last; one part is in memory at a time.
        total_bytes: Larger files are refused.
        pauses_seconds: Before each repetition of a part that failed.
    """

    single_bytes: int = 512_000_000
    part_bytes: int = 64_000_000
    total_bytes: int = 8 * 1024**3
    pauses_seconds: tuple[float, ...] = (1.0, 5.0, 15.0)


LIMITS = UploadLimits()


async def upload_in_parts(
    client: AsyncOpenAI, path: Path, *, filename: str, size: int, limits: UploadLimits, on_progress: Progress
) -> str:
    """Upload a file by the Uploads API and return the file's id.

    A part that fails is sent again. If the upload fails for good, its draft is cancelled; one that was left by a
    killed process never becomes a file, and the provider drops it within an hour.

    Raises:
        ProviderError: The provider refuses, or has no Uploads API.
        openai.OpenAIError: A transient failure; the file may be there all the same, where the last answer was lost.
    """
    upload_id = await _begin(client, filename, size, limits)
    try:
        part_ids: list[str] = []
        with path.open("rb") as stream:
            while data := await asyncio.to_thread(stream.read, limits.part_bytes):
                part_ids.append(await _send_part(client, upload_id, len(part_ids), data, limits))
                on_progress(stream.tell(), size)
        return await _complete(client, upload_id, part_ids, limits)
    except BaseException:
        await _cancel(client, upload_id)
        raise


async def _begin(client: AsyncOpenAI, filename: str, size: int, limits: UploadLimits) -> str:
    async with provider_call(f"beginning to upload {filename}"):
        try:
            upload = await client.uploads.create(
                bytes=size, filename=filename, mime_type=_MIME_TYPE, purpose="fine-tune"
            )
        except openai.NotFoundError:
            raise ProviderError(
                f"{client.base_url.host} takes no files in parts (it has no Uploads API), and {filename} has "
                f"{size:,} bytes; one request takes at most {limits.single_bytes:,}.",
                hint="Train on fewer examples, or at another provider.",
            ) from None
    return upload.id


async def _send_part(client: AsyncOpenAI, upload_id: str, index: int, data: bytes, limits: UploadLimits) -> str:
    async def send() -> str:
        part = await client.uploads.parts.create(
            upload_id,
            data=data,
            # Retune's server honours it. Elsewhere a repeated part is a second one, which is never named.
            extra_headers={"Idempotency-Key": f"{upload_id}-{index}"},
        )
        return part.id

    async with provider_call(f"uploading part {index + 1}"):
        return await _persistently(send, limits)


async def _complete(client: AsyncOpenAI, upload_id: str, part_ids: list[str], limits: UploadLimits) -> str:
    async with provider_call("completing the upload"):
        completed = await _persistently(lambda: client.uploads.complete(upload_id, part_ids=part_ids), limits)
    if completed.file is None:
        raise UnexpectedAnswerError(f"The provider completed {upload_id}, but names no file.")
    return completed.file.id


async def _persistently(call: Callable[[], Awaitable[Answer]], limits: UploadLimits) -> Answer:
    for pause in limits.pauses_seconds:
        try:
            return await call()
        except openai.OpenAIError as error:
            if not is_transient(error):
                raise
            await asyncio.sleep(max(pause, retry_after_seconds(error) or 0))
    return await call()


async def _cancel(client: AsyncOpenAI, upload_id: str) -> None:
    # What counts is the failure that led here. A draft that can't be cancelled now is dropped by its provider.
    with contextlib.suppress(openai.OpenAIError):
        await client.with_options(timeout=_CANCEL_WITHIN_SECONDS).uploads.cancel(upload_id)
