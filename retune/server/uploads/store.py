"""Uploads in the database: pending → completed, cancelled or expired, and the parts received so far."""

import time
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal, TypedDict

from pydantic import Field
from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.api.idempotency import hash_of
from retune.server.api.request_bodies import PlainText, RequestModel
from retune.server.errors import ApiError
from retune.server.files import rules
from retune.server.files import store as file_store
from retune.server.files.rules import ExpiresAfter
from retune.server.storage.content_store import ContentStore
from retune.server.storage.database import Database
from retune.server.storage.tables import UploadPartRow, UploadRow

MAX_PARTS: Final = 10_000
_LIFETIME_SECONDS = 3600
_MAX_NAMED_IDS = 3
_AT_ONCE = 500


class CreateUploadRequest(RequestModel):
    """The body of POST /v1/uploads; `bytes` is the size that will be sent."""

    filename: str = Field(min_length=1, max_length=1024)
    purpose: PlainText
    bytes: int = Field(ge=0)
    mime_type: str = Field(min_length=1, max_length=256)
    expires_after: ExpiresAfter | None = None


class CompleteUploadRequest(RequestModel):
    """The parts in the order of the file, and optionally the hash of the whole, in hexadecimal digits."""

    part_ids: list[PlainText] = Field(max_length=MAX_PARTS, fail_fast=True)
    md5: Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")] | None = None


class UploadStatus(StrEnum):
    """Status of an upload."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class UploadObject(TypedDict):
    """The Upload object."""

    object: Literal["upload"]
    id: str
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: UploadStatus
    file: file_store.FileObject | None


class PartObject(TypedDict):
    """The UploadPart object."""

    object: Literal["upload.part"]
    id: str
    created_at: int
    upload_id: str


def upload_object(session: Session, row: UploadRow) -> UploadObject:
    """The Upload object; `file` is null before completion, and after the file is gone."""
    file = file_store.find_file(session, row.file_id) if row.file_id else None
    return {
        "object": "upload",
        "id": row.id,
        "bytes": row.bytes,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "filename": row.filename,
        "purpose": row.purpose,
        "status": status_of(row),
        "file": file_store.file_object(file) if file else None,
    }


def part_object(row: UploadPartRow) -> PartObject:
    """The UploadPart object."""
    return {"object": "upload.part", "id": row.id, "created_at": row.created_at, "upload_id": row.upload_id}


def status_of(row: UploadRow) -> UploadStatus:
    """The current status of an upload: after `expires_at` it is expired, even if that is not recorded yet."""
    is_overdue = row.status == UploadStatus.PENDING and row.expires_at <= time.time()
    return UploadStatus.EXPIRED if is_overdue else UploadStatus(row.status)


def get_upload(session: Session, upload_id: str) -> UploadRow:
    """The upload of this id.

    Raises:
        ApiError: 404: there is no such upload.
    """
    row = session.scalar(select(UploadRow).where(UploadRow.id == upload_id))
    if row is None:
        raise ApiError(404, f"No such Upload object: {upload_id}", param="upload_id")
    return row


def is_pending(row: UploadRow) -> bool:
    """Whether an upload still accepts parts."""
    return status_of(row) is UploadStatus.PENDING


def require_pending(row: UploadRow) -> None:
    """Refuse to change an upload that has ended.

    Raises:
        ApiError: 400.
    """
    status = status_of(row)
    if status is not UploadStatus.PENDING:
        raise ApiError(
            400,
            f"Upload {row.id} is {status}; only a pending upload can be changed. Create a new upload.",
            param="upload_id",
            code=f"upload_{status}",
        )


def add_upload(session: Session, request: CreateUploadRequest) -> UploadRow:
    """Add a pending upload."""
    now = int(time.time())
    row = UploadRow(
        id=ids.new_id("upload_"),
        created_at=now,
        expires_at=now + _LIFETIME_SECONDS,
        status=UploadStatus.PENDING,
        filename=request.filename,
        purpose=request.purpose,
        mime_type=request.mime_type,
        bytes=request.bytes,
        file_lifetime_seconds=request.expires_after.seconds if request.expires_after else None,
    )
    session.add(row)
    session.flush()
    return row


def check_part(session: Session, upload_id: str, size: int, *, max_part_bytes: int) -> None:
    """Refuse a part that its upload can't take.

    Twice the promised bytes are taken: a client that repeats a part whose answer it missed leaves one to spare.

    Raises:
        ApiError: 404: there is no such upload; 400: it has ended, or has too many parts or bytes.
    """
    upload = get_upload(session, upload_id)
    require_pending(upload)
    query = select(func.count(), func.sum(UploadPartRow.bytes)).where(UploadPartRow.upload_id == upload_id)
    count, present = session.execute(query).tuples().one()
    most = 2 * max(upload.bytes, max_part_bytes)
    if count >= MAX_PARTS or int(present or 0) + size > most:
        raise ApiError(
            400,
            f"Upload {upload_id} can't take this part: it promised {upload.bytes} bytes, and its parts may be "
            f"{MAX_PARTS} and have {most} bytes together. Complete it with the parts that it has, or cancel it.",
            param="data",
        )


def add_part(session: Session, *, part_id: str, upload_id: str, size: int) -> UploadPartRow:
    """Add the row of a part whose bytes are in the content store."""
    row = UploadPartRow(id=part_id, upload_id=upload_id, created_at=int(time.time()), bytes=size)
    session.add(row)
    session.flush()
    return row


def check_chosen_parts(session: Session, upload: UploadRow, part_ids: Sequence[str]) -> None:
    """Check the parts of a completion against those received.

    Raises:
        ApiError: 400: a part is named twice or is none of this upload's, or they have not the promised bytes.
    """
    sizes = _part_sizes(session, upload.id)
    twice = [part_id for part_id, count in Counter(part_ids).items() if count > 1]
    if twice:
        raise _wrong_parts(f"each part may be named once, but found twice: {_some(twice)}")
    strangers = [part_id for part_id in part_ids if part_id not in sizes]
    if strangers:
        raise _wrong_parts(f"not among the parts of upload {upload.id}: {_some(strangers)}")
    total = sum(sizes[part_id] for part_id in part_ids)
    if total != upload.bytes:
        raise _wrong_parts(
            f"upload {upload.id} promised {upload.bytes} bytes, but the {len(part_ids)} parts have {total}"
        )


def is_completed_with(row: UploadRow, part_ids: Sequence[str]) -> bool:
    """Whether these parts, in this order, completed an upload."""
    return row.completed_with == hash_of(*part_ids)


def mark_completed(session: Session, upload: UploadRow, file_id: str, part_ids: Sequence[str]) -> None:
    """End a pending upload with its file, whose bytes are in the content store."""
    now = int(time.time())
    file_store.add_file(
        session,
        file_id=file_id,
        filename=upload.filename,
        purpose=upload.purpose,
        size=upload.bytes,
        created_at=now,
        expires_at=rules.end_of_life(now, upload.file_lifetime_seconds, upload.purpose),
    )
    upload.status = UploadStatus.COMPLETED
    upload.file_id = file_id
    upload.completed_with = hash_of(*part_ids)


def mark_cancelled(session: Session, upload_id: str) -> UploadRow:
    """Cancel an upload; one that is cancelled already stays so.

    Raises:
        ApiError: 404: there is no such upload; 400: it is completed or expired.
    """
    row = get_upload(session, upload_id)
    if row.status != UploadStatus.CANCELLED:
        require_pending(row)
        row.status = UploadStatus.CANCELLED
    return row


def has_expired(session: Session) -> bool:
    """Whether `mark_expired` has anything to do."""
    return session.scalar(select(UploadRow.position).where(*_is_overdue()).limit(1)) is not None


def mark_expired(session: Session) -> None:
    """Mark the pending uploads that are past their time."""
    session.execute(update(UploadRow).where(*_is_overdue()).values(status=UploadStatus.EXPIRED))


def find_part(session: Session, part_id: str) -> UploadPartRow | None:
    """The part of this id, unless its upload has ended."""
    return session.scalar(select(UploadPartRow).where(UploadPartRow.id == part_id))


def parts_of_ended_uploads(session: Session, *, limit: int) -> Sequence[str]:
    """Ids of parts that can no longer be used."""
    query = select(UploadPartRow.id).join(UploadRow, UploadRow.id == UploadPartRow.upload_id)
    return session.scalars(query.where(UploadRow.status != UploadStatus.PENDING).limit(limit)).all()


def delete_part_rows(session: Session, part_ids: Sequence[str]) -> None:
    """Delete the rows of parts whose bytes are deleted."""
    session.execute(delete(UploadPartRow).where(UploadPartRow.id.in_(part_ids)))


def _is_overdue() -> tuple[ColumnElement[bool], ...]:
    return (UploadRow.status == UploadStatus.PENDING, UploadRow.expires_at <= int(time.time()))


def _part_sizes(session: Session, upload_id: str) -> dict[str, int]:
    query = select(UploadPartRow.id, UploadPartRow.bytes).where(UploadPartRow.upload_id == upload_id)
    return dict(session.execute(query).tuples().all())


def _wrong_parts(what: str) -> ApiError:
    return ApiError(400, f"Invalid value for 'part_ids': {what}.", param="part_ids", code="invalid_value")


def _some(part_ids: Sequence[str]) -> str:
    more = len(part_ids) - _MAX_NAMED_IDS
    return ", ".join(part_ids[:_MAX_NAMED_IDS]) + (f" and {more} more" if more > 0 else "")


def delete_parts_of_ended_uploads(database: Database, contents: ContentStore) -> None:
    """Delete the parts of all uploads that are completed, cancelled or expired: first their bytes, then their rows."""
    while True:
        with database.read() as session:
            part_ids = parts_of_ended_uploads(session, limit=_AT_ONCE)
        if not part_ids:
            return
        for part_id in part_ids:
            contents.remove(part_id)
        with database.write() as session:
            delete_part_rows(session, part_ids)
