"""Each change of a job's status: only from the statuses that allow it, with its event, and its notification at the end.

Requests and the job runner may run in different processes. A change is one conditional update; of two that race, the
later one is refused.
"""

import time
from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from retune.server.errors import ApiError
from retune.server.jobs.events import add_event
from retune.server.jobs.store import get_job
from retune.server.storage.column_types import storable
from retune.server.storage.statuses import ACTIVE_JOBS, UNFINISHED_JOBS, JobStatus, change_if
from retune.server.storage.tables import CheckpointRow, JobRow
from retune.server.webhooks.outbox import add_event_to_outbox
from retune.trainers.base import Hyperparameters

# Messages of trainers and libraries have any length, and the job's object and its last event keep them.
_MAX_ERROR_CHARACTERS = 2000


def mark_queued(session: Session, job_id: str, hyperparameters: Hyperparameters) -> bool:
    """Queue a job whose files are valid, with resolved hyperparameters; False if it is no longer `validating_files`."""
    values = {"status": JobStatus.QUEUED, "hyperparameters": hyperparameters.model_dump()}
    if not _change(session, job_id, [JobStatus.VALIDATING_FILES], values):
        return False
    add_event(session, job_id, "Files validated, moving job to queued state")
    return True


def mark_running(session: Session, job_id: str) -> bool:
    """Start a queued job, or resume one that was running when the server stopped; False if it is neither."""
    if _change(session, job_id, [JobStatus.QUEUED], {"status": JobStatus.RUNNING}):
        add_event(session, job_id, "Fine-tuning job started")
        return True
    return is_running(session, job_id)


def is_running(session: Session, job_id: str) -> bool:
    """Whether the job is running: neither cancelled nor paused meanwhile."""
    return session.scalar(select(JobRow.status).where(JobRow.id == job_id)) == JobStatus.RUNNING


def mark_paused(session: Session, job_id: str) -> JobRow:
    """Pause a job that is not finished; its training ends where it is, and its checkpoints stay.

    Raises:
        ApiError: 404: there is no such job; 400: it is finished, or paused already.
    """
    job = get_job(session, job_id)
    if not _change(session, job_id, ACTIVE_JOBS, {"status": JobStatus.PAUSED}):
        raise _refusal(session, job, "pause")
    add_event(session, job_id, "Fine-tuning job paused")
    return _changed(session, job)


def mark_resumed(session: Session, job_id: str) -> JobRow:
    """Put a paused job back in its queue: that for training, or, where its files were not read yet, for validation.

    The queue's limit does not matter: the job was accepted before.

    Raises:
        ApiError: 404: there is no such job; 400: it is not paused.
    """
    job = get_job(session, job_id)
    status = JobStatus.VALIDATING_FILES if job.hyperparameters is None else JobStatus.QUEUED
    if not _change(session, job_id, [JobStatus.PAUSED], {"status": status}):
        raise _refusal(session, job, "resume")
    add_event(session, job_id, "Fine-tuning job resumed")
    return _changed(session, job)


def mark_cancelled(session: Session, job_id: str, *, webhook_urls: Sequence[str]) -> JobRow:
    """Cancel a job that is not finished.

    Raises:
        ApiError: 404: there is no such job; 400: it is finished already.
    """
    job = get_job(session, job_id)
    if not _change(session, job_id, UNFINISHED_JOBS, {"status": JobStatus.CANCELLED}):
        raise _refusal(session, job, "cancel")
    _drop_checkpoints(session, job_id)
    add_event(session, job_id, "Fine-tuning job cancelled")
    add_event_to_outbox(session, webhook_urls, "fine_tuning.job.cancelled", job_id)
    return _changed(session, job)


def mark_failed(
    session: Session,
    job_id: str,
    error: dict[str, str | None],
    *,
    webhook_urls: Sequence[str],
    was: Sequence[JobStatus] = ACTIVE_JOBS,
) -> bool:
    """End a job with an error; False if it is no longer what it `was`."""
    if not _change(session, job_id, was, {"status": JobStatus.FAILED, "error": error}):
        return False
    _drop_checkpoints(session, job_id)
    add_event(session, job_id, str(error["message"]), level="error")
    add_event_to_outbox(session, webhook_urls, "fine_tuning.job.failed", job_id)
    return True


def mark_succeeded(
    session: Session, job: JobRow, *, trained_tokens: int, result_file: str, webhook_urls: Sequence[str]
) -> bool:
    """Record a running job's success; False if it is no longer running."""
    values = {
        "status": JobStatus.SUCCEEDED,
        "finished_at": int(time.time()),
        "trained_tokens": trained_tokens,
        "result_file": result_file,
    }
    if not _change(session, job.id, [JobStatus.RUNNING], values):
        return False
    add_event(session, job.id, f"New fine-tuned model created: {job.model_name}")
    add_event(session, job.id, "The job has successfully completed")
    add_event_to_outbox(session, webhook_urls, "fine_tuning.job.succeeded", job.id)
    return True


def job_error(code: str, message: str, param: str | None = None) -> dict[str, str | None]:
    """The `error` of a failed job; a long message is cut."""
    return {"code": code, "message": storable(_cut(message)), "param": param}


def _change(session: Session, job_id: str, was: Sequence[JobStatus], values: Mapping[str, object]) -> bool:
    return change_if(session, JobRow, job_id, was, values)


def _changed(session: Session, job: JobRow) -> JobRow:
    session.refresh(job)
    return job


def _cut(message: str) -> str:
    return message if len(message) <= _MAX_ERROR_CHARACTERS else f"{message[:_MAX_ERROR_CHARACTERS]}…"


def _refusal(session: Session, job: JobRow, verb: str) -> ApiError:
    status = _changed(session, job).status
    if verb == "cancel":
        # As LiteLLM's live tests against OpenAI and Azure match it.
        return ApiError(400, "Job has already completed")
    if verb == "resume":
        return ApiError(400, f'Cannot resume a job {job.id} that is not paused: its status is "{status}".')
    return ApiError(400, f'Cannot {verb} a job {job.id} that already has status "{status}".')


def _drop_checkpoints(session: Session, job_id: str) -> None:
    # Only a job that succeeded has models that answer.
    session.execute(delete(CheckpointRow).where(CheckpointRow.job_id == job_id))
