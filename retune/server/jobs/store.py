"""Fine-tuning jobs in the database: creation, their object on the wire, and each change of their status."""

import secrets
import time
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.api.errors import ApiError
from retune.server.jobs.events import add_event, validating_message
from retune.server.jobs.requests import CreateJobRequest
from retune.server.jobs.statuses import PENDING, UNFINISHED, JobStatus
from retune.server.models.store import Model
from retune.server.storage.tables import CheckpointRow, JobMetadataRow, JobRow
from retune.trainers.base import Hyperparameters

ORGANIZATION = "retune"


def job_object(job: JobRow) -> dict[str, Any]:
    """The fine-tuning job object."""
    hyperparameters = job.hyperparameters or job.requested_hyperparameters
    succeeded = job.status == JobStatus.SUCCEEDED
    return {
        "object": "fine_tuning.job",
        "id": job.id,
        "model": job.model,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "fine_tuned_model": job.model_name if succeeded else None,
        "organization_id": f"org-{ORGANIZATION}",
        "result_files": [job.result_file] if job.result_file else [],
        "status": job.status,
        "validation_file": job.validation_file,
        "training_file": job.training_file,
        "hyperparameters": hyperparameters,
        "trained_tokens": job.trained_tokens,
        "error": job.error or {},
        "user_provided_suffix": job.suffix,
        "seed": job.seed,
        "estimated_finish": None,
        "integrations": job.integrations,
        "metadata": job.job_metadata,
        "usage_metrics": None,
        "shared_with_openai": False,
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
    }


def get_job(session: Session, job_id: str) -> JobRow:
    """The job of this id.

    Raises:
        ApiError: 404: there is no such job.
    """
    job = session.scalar(select(JobRow).where(JobRow.id == job_id))
    if job is None:
        raise ApiError(404, f"Could not find fine tune: {job_id}", param="fine_tune_id", code="fine_tune_not_found")
    return job


def add_job(session: Session, request: CreateJobRequest, model: Model) -> JobRow:
    """Add a job with its first events; its files are read later."""
    job = JobRow(
        id=ids.new_job_id(),
        created_at=int(time.time()),
        status=JobStatus.VALIDATING_FILES,
        model=model.name,
        base_model=model.base_model,
        base_directory=model.directory,
        model_name=ids.new_model_name(model.base_model, ORGANIZATION, request.suffix),
        suffix=request.suffix,
        seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
        training_file=request.training_file,
        validation_file=request.validation_file,
        requested_hyperparameters=request.requested_hyperparameters().model_dump(),
        integrations=[item.model_dump(exclude_unset=True) for item in request.integrations or []],
        job_metadata=request.metadata,
    )
    session.add(job)
    session.flush()
    pairs = (request.metadata or {}).items()
    session.add_all(JobMetadataRow(job_position=job.position, key=key, value=value) for key, value in pairs)
    add_event(session, job.id, f"Created fine-tuning job: {job.id}")
    if job.integrations:
        text = "This server sends nothing to Weights & Biases: the job's integrations are kept, but have no effect."
        add_event(session, job.id, text, level="warn")
    add_event(session, job.id, validating_message(job))
    return job


def count_by_status(session: Session) -> dict[str, int]:
    """How many unfinished jobs there are of each status."""
    query = select(JobRow.status, func.count()).where(JobRow.status.in_(UNFINISHED)).group_by(JobRow.status)
    return dict(session.execute(query).tuples().all())


def refuse_past_limit(session: Session, model: str, max_queued_jobs: int) -> None:
    """Refuse a new job where as many wait as may.

    Raises:
        ApiError: 429.
    """
    counts = count_by_status(session)
    running = counts.get(JobStatus.RUNNING, 0)
    pending = sum(counts.get(status, 0) for status in PENDING)
    if pending >= max_queued_jobs:
        raise ApiError(
            429,
            "This fine-tune request has been rate-limited. Your organization has reached the maximum of "
            f"{running + pending} active requests ({running} running, {pending} pending) for the model '{model}'.",
            code="rate_limit_exceeded",
            retryable=True,
        )


def mark_queued(session: Session, job_id: str, hyperparameters: Hyperparameters) -> bool:
    """Queue a job whose files are good, with its hyperparameters in numbers; False if it is validated no more."""
    values = {"status": JobStatus.QUEUED, "hyperparameters": hyperparameters.model_dump()}
    if not _change(session, job_id, JobStatus.VALIDATING_FILES, values):
        return False
    add_event(session, job_id, "Files validated, moving job to queued state")
    return True


def mark_running(session: Session, job_id: str) -> bool:
    """Start a queued job, or take up one that was running when the server stopped; False if it is neither."""
    if _change(session, job_id, JobStatus.QUEUED, {"status": JobStatus.RUNNING}):
        add_event(session, job_id, "Fine-tuning job started")
        return True
    return is_running(session, job_id)


def is_running(session: Session, job_id: str) -> bool:
    """Tell whether the job is running: not cancelled meanwhile."""
    return session.scalar(select(JobRow.status).where(JobRow.id == job_id)) == JobStatus.RUNNING


def mark_cancelled(session: Session, job_id: str) -> JobRow:
    """Cancel a job.

    Raises:
        ApiError: 404: there is no such job; 400: it is finished already.
    """
    job = get_job(session, job_id)
    if job.status not in UNFINISHED:
        raise ApiError(400, f'Cannot cancel a job {job_id} that already has status "{job.status}".')
    job.status = JobStatus.CANCELLED
    _drop_checkpoints(session, job_id)
    add_event(session, job_id, "Fine-tuning job cancelled")
    return job


def mark_failed(session: Session, job_id: str, *, code: str, message: str, param: str | None = None) -> bool:
    """End an unfinished job with an error; False if it is finished already."""
    error = {"code": code, "message": message, "param": param}
    changed = any(
        _change(session, job_id, status, {"status": JobStatus.FAILED, "error": error}) for status in UNFINISHED
    )
    if changed:
        _drop_checkpoints(session, job_id)
        add_event(session, job_id, message, level="error")
    return changed


def mark_succeeded(session: Session, job_id: str, *, trained_tokens: int, result_file: str) -> bool:
    """End a running job well; False if it is running no more."""
    values = {
        "status": JobStatus.SUCCEEDED,
        "finished_at": int(time.time()),
        "trained_tokens": trained_tokens,
        "result_file": result_file,
    }
    return _change(session, job_id, JobStatus.RUNNING, values)


def _change(session: Session, job_id: str, status: JobStatus, values: dict[str, Any]) -> bool:
    change = update(JobRow).where(JobRow.id == job_id, JobRow.status == status).values(**values)
    return session.connection().execute(change).rowcount == 1


def _drop_checkpoints(session: Session, job_id: str) -> None:
    # Only a job that succeeded has models that answer.
    session.execute(delete(CheckpointRow).where(CheckpointRow.job_id == job_id))
