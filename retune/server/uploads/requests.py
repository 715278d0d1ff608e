"""The bodies of POST /v1/uploads and of its completion."""

from typing import Annotated, Final

from pydantic import Field

from retune.server.api.request_fields import ExpiresAfter, PlainText, RequestModel

MAX_PARTS: Final = 10_000


class CreateUploadRequest(RequestModel):
    """An upload as a client asks for it; `bytes` is what it promises to send."""

    filename: str = Field(min_length=1, max_length=1024)
    purpose: PlainText
    bytes: int = Field(ge=0)
    mime_type: str = Field(min_length=1, max_length=256)
    expires_after: ExpiresAfter | None = None


class CompleteUploadRequest(RequestModel):
    """The parts in the order of the file, and optionally the hash of the whole, in hexadecimal digits."""

    part_ids: list[PlainText] = Field(max_length=MAX_PARTS, fail_fast=True)
    md5: Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")] | None = None
