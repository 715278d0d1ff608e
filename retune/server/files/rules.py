"""Rules for files: purposes, names, lifetimes and sizes, the same for files sent whole and in parts."""

import re
import unicodedata
from pathlib import PurePosixPath
from typing import Final, Literal

from pydantic import Field
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from retune.server.api.request_bodies import RequestModel
from retune.server.errors import ApiError
from retune.server.files.store import ids_read_by_jobs
from retune.server.storage.tables import FileRow, UploadPartRow

PURPOSES: Final = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
SHORTEST_LIFETIME_SECONDS: Final = 3600
LONGEST_LIFETIME_SECONDS: Final = 30 * 24 * 3600
# Uploads leave this much disk space: without it the database could not even record the deletion that makes room.
SPARE_BYTES: Final = 16 * 1024 * 1024
# What file systems take as a name.
_LONGEST_NAME_BYTES: Final = 255
_SEPARATORS: Final = re.compile(r"[/\\]")
_JSONL_ONLY = {"fine-tune": "Fine-Tuning", "batch": "Batch"}
_BATCH_SECONDS = 30 * 24 * 3600


class ExpiresAfter(RequestModel):
    """How long a file is kept, from its creation."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=SHORTEST_LIFETIME_SECONDS, le=LONGEST_LIFETIME_SECONDS)


def base_name(filename: str, param: str) -> str:
    """The name that a file is kept under: what the client called it, without folders and control characters.

    Raises:
        ApiError: 400: nothing is left of it, or it is longer than a file's name may be.
    """
    last = _SEPARATORS.split(filename)[-1]
    name = "".join(character for character in last if unicodedata.category(character) != "Cc").strip()
    if name in {"", ".", ".."}:
        raise ApiError(400, f"The part '{param}' must have a filename.", param=param)
    size = len(name.encode("utf-8", "replace"))
    if size > _LONGEST_NAME_BYTES:
        message = f"string too long. Expected a filename of at most {_LONGEST_NAME_BYTES} bytes, but got one of {size}."
        raise ApiError(400, f"Invalid '{param}': {message}", param=param, code="string_above_max_length")
    return name


def check_purpose(purpose: str, filename: str) -> None:
    """Refuse an unknown purpose, and an extension that does not fit it.

    A name without an extension fits: openai 0.28 calls every file `file`, and later SDKs call bytes `upload`.

    Raises:
        ApiError: 400.
    """
    if purpose not in PURPOSES:
        raise ApiError(
            400, f"'{purpose}' is not one of {list(PURPOSES)} - 'purpose'", param="purpose", code="invalid_value"
        )
    extension = PurePosixPath(filename).suffix.lower()
    if purpose in _JSONL_ONLY and extension not in {"", ".", ".jsonl"}:
        raise ApiError(400, f"Invalid file format for {_JSONL_ONLY[purpose]} API. Must be .jsonl")


def end_of_life(created_at: int, lifetime_seconds: int | None, purpose: str) -> int | None:
    """When a file expires, in Unix seconds; None if it is kept until it is deleted."""
    if lifetime_seconds is None and purpose == "batch":
        lifetime_seconds = _BATCH_SECONDS
    return None if lifetime_seconds is None else created_at + lifetime_seconds


def check_total(session: Session, more_bytes: int, max_total_bytes: int | None) -> None:
    """Refuse bytes that would bring all files and waiting parts together over the limit.

    Deleted files that unfinished jobs still read are on disk, and count.

    Raises:
        ApiError: 413.
    """
    if max_total_bytes is None:
        return
    present = sum(
        int(session.scalar(query) or 0)
        for query in (
            select(func.sum(FileRow.bytes)).where(
                or_(FileRow.deleted_at.is_(None), FileRow.id.in_(ids_read_by_jobs()))
            ),
            select(func.sum(UploadPartRow.bytes)),
        )
    )
    if present + more_bytes > max_total_bytes:
        raise ApiError(
            413,
            f"There is no room for {more_bytes} bytes more: all files together may have {max_total_bytes} bytes, and "
            f"have {present} now. Delete files that no unfinished job needs.",
            code="storage_limit_exceeded",
        )
