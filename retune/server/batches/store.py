"""Batches in the database: creation, their object on the wire, and each change of their status."""

import time
from collections.abc import Sequence
from typing import Literal, TypedDict

from sqlalchemy import select
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.batches.requests import BatchError, CheckedInput, CreateBatchRequest
from retune.server.batches.results import ResultFile, Tally
from retune.server.errors import ApiError
from retune.server.files import store as file_store
from retune.server.storage.column_types import storable
from retune.server.storage.statuses import CANCELLABLE_BATCHES, UNFINISHED_BATCHES, BatchStatus, change_if
from retune.server.storage.tables import BatchRow
from retune.server.webhooks.outbox import add_event_to_outbox
from retune.training_lines.keys import JsonObject

_WINDOW_SECONDS = 24 * 3600


class BatchObject(TypedDict):
    """The Batch object."""

    id: str
    object: Literal["batch"]
    endpoint: str
    model: str | None
    errors: JsonObject | None
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: dict[str, int]
    usage: JsonObject | None
    metadata: dict[str, str] | None


def batch_object(batch: BatchRow) -> BatchObject:
    """The Batch object."""
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": batch.status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": batch.created_at,
        "in_progress_at": batch.in_progress_at,
        "expires_at": batch.expires_at,
        "finalizing_at": batch.finalizing_at,
        "completed_at": batch.completed_at,
        "failed_at": batch.failed_at,
        "expired_at": batch.expired_at,
        "cancelling_at": batch.cancelling_at,
        "cancelled_at": batch.cancelled_at,
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "usage": batch.usage,
        "metadata": batch.batch_metadata,
    }


def get_batch(session: Session, batch_id: str) -> BatchRow:
    """The batch of this id.

    Raises:
        ApiError: 404: there is no such batch.
    """
    batch = session.scalar(select(BatchRow).where(BatchRow.id == batch_id))
    if batch is None:
        raise ApiError(404, f"No batch found with id '{batch_id}'.")
    return batch


def add_batch(session: Session, request: CreateBatchRequest) -> BatchRow:
    """Add a batch; its input file is read later.

    Raises:
        ApiError: 400: there is no such input file, or it has another purpose.
    """
    file_id = request.input_file_id
    file = file_store.find_file(session, file_id)
    if file is None:
        raise ApiError(400, f"invalid input_file_id: {file_id}", param="input_file_id")
    if file.purpose != "batch":
        message = f"invalid input_file_id: {file_id} has the purpose '{file.purpose}'; it must be 'batch'"
        raise ApiError(400, message, param="input_file_id")
    now = int(time.time())
    batch = BatchRow(
        id=ids.new_id("batch_"),
        created_at=now,
        endpoint=request.endpoint,
        completion_window=request.completion_window,
        input_file_id=file_id,
        status=BatchStatus.VALIDATING,
        output_lifetime_seconds=request.output_expires_after.seconds if request.output_expires_after else None,
        expires_at=now + _WINDOW_SECONDS,
        batch_metadata=request.metadata,
    )
    session.add(batch)
    session.flush()
    return batch


def mark_cancelling(session: Session, batch_id: str) -> BatchRow:
    """Cancel a batch; one that is already cancelling is unchanged.

    Raises:
        ApiError: 404: there is no such batch; 409: it is finished already, or about to be.
    """
    batch = get_batch(session, batch_id)
    if batch.status in CANCELLABLE_BATCHES:
        batch.status = BatchStatus.CANCELLING
        batch.cancelling_at = int(time.time())
    elif batch.status != BatchStatus.CANCELLING:
        raise ApiError(409, f"Cannot cancel a batch with status '{batch.status}'.")
    return batch


def status_of(session: Session, batch_id: str) -> str | None:
    """The current status of a batch."""
    return session.scalar(select(BatchRow.status).where(BatchRow.id == batch_id))


def mark_in_progress(session: Session, batch_id: str, checked: CheckedInput) -> bool:
    """Start answering the requests of a checked file; False if the batch is no longer `validating`."""
    values = {
        "status": BatchStatus.IN_PROGRESS,
        "in_progress_at": int(time.time()),
        "total": checked.total,
        "model": storable(checked.model),
        **_counted(Tally()),
    }
    return change_if(session, BatchRow, batch_id, [BatchStatus.VALIDATING], values)


def record_progress(session: Session, batch_id: str, tally: Tally) -> bool:
    """Record the counts so far; False if the batch is no longer `in_progress`."""
    return change_if(session, BatchRow, batch_id, [BatchStatus.IN_PROGRESS], _counted(tally))


def mark_finalizing(session: Session, batch_id: str, tally: Tally) -> bool:
    """Start writing the files of a batch whose requests are all answered; False if it is no longer `in_progress`."""
    values = {"status": BatchStatus.FINALIZING, "finalizing_at": int(time.time()), **_counted(tally)}
    return change_if(session, BatchRow, batch_id, [BatchStatus.IN_PROGRESS], values)


def mark_failed(session: Session, batch_id: str, errors: list[BatchError], webhook_urls: Sequence[str]) -> bool:
    """End an unfinished batch with errors; False if it is finished already."""
    storable_errors = [{**error, "message": storable(error["message"])} for error in errors]
    values = {"status": BatchStatus.FAILED, "failed_at": int(time.time()), "errors": storable_errors}
    changed = change_if(session, BatchRow, batch_id, UNFINISHED_BATCHES, values)
    if changed:
        add_event_to_outbox(session, webhook_urls, "batch.failed", batch_id)
    return changed


def mark_ended(
    session: Session,
    batch: BatchRow,
    status: BatchStatus,
    tally: Tally,
    *,
    output: ResultFile | None,
    errors: ResultFile | None,
    webhook_urls: Sequence[str],
) -> bool:
    """End a batch as completed, expired or cancelled, with its files; False if its status has changed meanwhile.

    Args:
        session: Where to write.
        batch: As it was when the files were made.
        status: One of the three.
        tally: Counts over both files.
        output: The output file; None where nothing went well.
        errors: The error file; None where nothing went wrong.
        webhook_urls: Who is notified.
    """
    now = int(time.time())
    values = {
        "status": status,
        f"{status}_at": now,
        "output_file_id": output.file_id if output else None,
        "error_file_id": errors.file_id if errors else None,
        # A batch that ended before its requests were counted has none on record.
        **(_counted(tally) if batch.in_progress_at else {}),
    }
    if not change_if(session, BatchRow, batch.id, [batch.status], values):
        return False
    for file in (output, errors):
        if file:
            _add_result_file(session, file, now, batch.output_lifetime_seconds)
    add_event_to_outbox(session, webhook_urls, f"batch.{status}", batch.id)
    return True


def _counted(tally: Tally) -> dict[str, object]:
    return {"completed": tally.completed, "failed": tally.failed, "usage": tally.usage()}


def _add_result_file(session: Session, file: ResultFile, now: int, lifetime_seconds: int | None) -> None:
    file_store.add_file(
        session,
        file_id=file.file_id,
        filename=file.filename,
        purpose="batch_output",
        size=file.size,
        created_at=now,
        expires_at=now + lifetime_seconds if lifetime_seconds else None,
    )
