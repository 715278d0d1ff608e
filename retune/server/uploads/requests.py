"""The bodies of POST /v1/uploads and of its completion."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from retune.server.files import rules


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FileExpiresAfter(_Request):
    """How long the file is kept, from its creation."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=rules.SHORTEST_LIFETIME_SECONDS, le=rules.LONGEST_LIFETIME_SECONDS)


class CreateUploadRequest(_Request):
    """An upload as a client asks for it; `bytes` is what it promises to send."""

    filename: str = Field(min_length=1, max_length=1024)
    purpose: str
    bytes: int = Field(ge=0)
    mime_type: str = Field(min_length=1, max_length=256)
    expires_after: FileExpiresAfter | None = None


class CompleteUploadRequest(_Request):
    """The parts in the order of the file, and optionally the hash of the whole, in hexadecimal digits."""

    part_ids: tuple[str, ...] = Field(strict=False)
    md5: Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")] | None = None
