"""The life of a fine-tuning job: validating_files → queued → running → succeeded, failed or cancelled.

Until it runs to its end it can be paused, and resumed, any number of times.
"""

from enum import StrEnum


class JobStatus(StrEnum):
    """Where a job stands."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


# A paused job waits for its owner, not for the server: it takes no place in the queue.
PENDING = (JobStatus.VALIDATING_FILES, JobStatus.QUEUED)
ACTIVE = (*PENDING, JobStatus.RUNNING)
UNFINISHED = (*ACTIVE, JobStatus.PAUSED)
