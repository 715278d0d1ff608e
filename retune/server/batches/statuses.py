"""The life of a batch.

validating → in_progress → finalizing → completed; on the way it may become failed, expired, or cancelling → cancelled.
"""

from enum import StrEnum


class BatchStatus(StrEnum):
    """Where a batch stands."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


UNFINISHED = (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS, BatchStatus.FINALIZING, BatchStatus.CANCELLING)
CANCELLABLE = (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS)
