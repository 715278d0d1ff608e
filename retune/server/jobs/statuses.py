"""The life of a fine-tuning job: validating_files → queued → running → succeeded, failed or cancelled."""

from enum import StrEnum


class JobStatus(StrEnum):
    """Where a job stands."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


PENDING = (JobStatus.VALIDATING_FILES, JobStatus.QUEUED)
UNFINISHED = (*PENDING, JobStatus.RUNNING)
