"""Files in the database: rows, their objects on the wire, and when they are deleted."""

import time
from collections.abc import Sequence
from typing import Literal, TypedDict

from sqlalchemy import ColumnElement, CompoundSelect, and_, literal, or_, select, union_all
from sqlalchemy.orm import Session

from retune.server.errors import ApiError
from retune.server.storage.statuses import UNFINISHED_BATCHES, UNFINISHED_JOBS
from retune.server.storage.tables import BatchRow, FileRow, JobRow


class FileObject(TypedDict):
    """The File object."""

    object: Literal["file"]
    id: str
    purpose: str
    filename: str
    bytes: int
    created_at: int
    expires_at: int | None
    status: Literal["processed"]
    status_details: None


def file_object(row: FileRow) -> FileObject:
    """The File object."""
    return {
        "object": "file",
        "id": row.id,
        "purpose": row.purpose,
        "filename": row.filename,
        "bytes": row.bytes,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "status": "processed",
        "status_details": None,
    }


def is_present() -> ColumnElement[bool]:
    """Condition on files: neither deleted nor past their time."""
    unexpired = or_(FileRow.expires_at.is_(None), FileRow.expires_at > int(time.time()))
    return and_(FileRow.deleted_at.is_(None), unexpired)


def find_file(session: Session, file_id: str) -> FileRow | None:
    """The file of this id, unless it is deleted or past its time."""
    return session.scalar(select(FileRow).where(FileRow.id == file_id, is_present()))


def get_file(session: Session, file_id: str) -> FileRow:
    """Like `find_file`.

    Raises:
        ApiError: 404: there is no such file.
    """
    row = find_file(session, file_id)
    if row is None:
        raise no_such_file(file_id)
    return row


def no_such_file(file_id: str) -> ApiError:
    """404 for a file that does not exist, or no longer does."""
    return ApiError(404, f"No such File object: {file_id}", param="id")


def add_file(
    session: Session,
    *,
    file_id: str,
    filename: str,
    purpose: str,
    size: int,
    created_at: int | None = None,
    expires_at: int | None = None,
) -> FileRow:
    """Add the row of a file whose bytes are in the content store; its creation time defaults to now."""
    row = FileRow(
        id=file_id,
        bytes=size,
        created_at=int(time.time()) if created_at is None else created_at,
        expires_at=expires_at,
        filename=filename,
        purpose=purpose,
    )
    session.add(row)
    session.flush()
    return row


def delete_file(session: Session, file_id: str) -> bool:
    """Mark a file deleted, and return whether its bytes can be deleted once this is committed.

    A fine-tuning job continues on a file that is deleted meanwhile, as at OpenAI; `find_unneeded` returns
    it once its bytes can be deleted.

    Raises:
        ApiError: 404: there is no such file; 409: a batch that is not finished needs it.
    """
    row = get_file(session, file_id)
    batch_id = _unfinished_batch_of(session, file_id)
    if batch_id is not None:
        raise ApiError(
            409,
            f"File {file_id} is in use by the batch {batch_id}, which is not finished. "
            "Cancel that or wait for its end, then delete the file.",
            code="file_in_use",
        )
    row.deleted_at = int(time.time())
    return not _is_needed_by_job(session, file_id)


def find_unneeded(session: Session, file_ids: Sequence[str]) -> list[str]:
    """Those of `file_ids` that are deleted and that no unfinished job reads."""
    is_unneeded = and_(FileRow.deleted_at.is_not(None), FileRow.id.not_in(ids_read_by_jobs()))
    return list(session.scalars(select(FileRow.id).where(FileRow.id.in_(file_ids), is_unneeded)))


def ids_read_by_jobs() -> CompoundSelect[tuple[str | None]]:
    """Query of the ids of all files that unfinished jobs read; an id may come twice."""
    files = (JobRow.training_file, JobRow.validation_file)
    is_read = JobRow.status.in_(UNFINISHED_JOBS)
    # Not null: in SQL, `id NOT IN (…, NULL)` is never true.
    return union_all(*(select(file).where(is_read, file.is_not(None)) for file in files))


def has_expired(session: Session) -> bool:
    """Whether `mark_expired` has anything to do."""
    return bool(_expired(session))


def mark_expired(session: Session) -> list[str]:
    """Mark the files past their time deleted, except those that unfinished work needs; return their ids."""
    expired = _expired(session)
    for row in expired:
        row.deleted_at = int(time.time())
    return [row.id for row in expired]


def _expired(session: Session) -> list[FileRow]:
    is_overdue = and_(FileRow.deleted_at.is_(None), FileRow.expires_at <= int(time.time()))
    overdue = session.scalars(select(FileRow).where(is_overdue)).all()
    return [row for row in overdue if not _is_needed(session, row.id)]


def _is_needed(session: Session, file_id: str) -> bool:
    return _is_needed_by_job(session, file_id) or _unfinished_batch_of(session, file_id) is not None


def _is_needed_by_job(session: Session, file_id: str) -> bool:
    return bool(session.scalar(select(literal(file_id).in_(ids_read_by_jobs()))))


def _unfinished_batch_of(session: Session, file_id: str) -> str | None:
    unfinished = and_(BatchRow.status.in_(UNFINISHED_BATCHES), BatchRow.input_file_id == file_id)
    return session.scalar(select(BatchRow.id).where(unfinished).limit(1))
