"""Files in the database: rows, what they look like on the wire, and when they go."""

import time
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from retune.server.api.errors import ApiError
from retune.server.jobs.statuses import UNFINISHED
from retune.server.storage.tables import FileRow, JobRow


def file_object(row: FileRow) -> dict[str, Any]:
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
        raise ApiError(404, f"No such File object: {file_id}", param="id")
    return row


def add_file(
    session: Session, *, file_id: str, filename: str, purpose: str, size: int, expires_at: int | None = None
) -> FileRow:
    """Add the row of a file whose bytes are in the content store."""
    row = FileRow(
        id=file_id,
        bytes=size,
        created_at=int(time.time()),
        expires_at=expires_at,
        filename=filename,
        purpose=purpose,
    )
    session.add(row)
    session.flush()
    return row


def delete_file(session: Session, file_id: str) -> None:
    """Mark a file deleted; its bytes go once this is committed.

    Raises:
        ApiError: 404: there is no such file; 409: a job that is not finished needs it.
    """
    row = get_file(session, file_id)
    job_id = _unfinished_job_with(session, file_id)
    if job_id is not None:
        raise ApiError(
            409,
            f"File {file_id} is in use by the fine-tuning job {job_id}, which is not finished. "
            "Cancel the job or wait for its end, then delete the file.",
            code="file_in_use",
        )
    row.deleted_at = int(time.time())


def mark_expired(session: Session) -> list[str]:
    """Mark the files past their time deleted, except those that an unfinished job needs; return their ids."""
    now = int(time.time())
    overdue = session.scalars(select(FileRow).where(FileRow.deleted_at.is_(None), FileRow.expires_at <= now)).all()
    expired = [row for row in overdue if _unfinished_job_with(session, row.id) is None]
    for row in expired:
        row.deleted_at = now
    return [row.id for row in expired]


def _unfinished_job_with(session: Session, file_id: str) -> str | None:
    uses = or_(JobRow.training_file == file_id, JobRow.validation_file == file_id)
    return session.scalar(select(JobRow.id).where(JobRow.status.in_(UNFINISHED), uses).limit(1))
