"""The statuses of jobs and of batches, and changes of them that two writers can't both make.

A job: validating_files → queued → running → succeeded, failed or cancelled. Until it has ended it can be paused and
resumed any number of times.

A batch: validating → in_progress → finalizing → completed; on the way it may become failed, expired, or
cancelling → cancelled.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from sqlalchemy import update
from sqlalchemy.orm import Session

from retune.server.storage.tables import BatchRow, JobRow


class JobStatus(StrEnum):
    """Status of a fine-tuning job."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


# A paused job waits for its owner, not for the server: it takes no place in the queue.
PENDING_JOBS = (JobStatus.VALIDATING_FILES, JobStatus.QUEUED)
ACTIVE_JOBS = (*PENDING_JOBS, JobStatus.RUNNING)
UNFINISHED_JOBS = (*ACTIVE_JOBS, JobStatus.PAUSED)


class BatchStatus(StrEnum):
    """Status of a batch."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


UNFINISHED_BATCHES = (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS, BatchStatus.FINALIZING, BatchStatus.CANCELLING)
CANCELLABLE_BATCHES = (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS)


def change_if(
    session: Session,
    table: type[JobRow] | type[BatchRow],
    row_id: str,
    was: Sequence[str],
    values: Mapping[str, object],
) -> bool:
    """Give a row new values if its status is one of those that it `was`; False if it has changed meanwhile."""
    change = update(table).where(table.id == row_id, table.status.in_(was)).values(**values)
    return session.connection().execute(change).rowcount == 1
