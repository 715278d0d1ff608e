"""Fine-tuning jobs in the database: their creation, their object on the wire, and how many there are."""

import math
import secrets
import time
from typing import Any, Literal, TypedDict

from sqlalchemy import Row, bindparam, func, select
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.errors import ApiError
from retune.server.jobs.events import add_event, validating_message
from retune.server.jobs.requests import CreateJobRequest
from retune.server.loaded_models import Model
from retune.server.storage.statuses import PENDING_JOBS, UNFINISHED_JOBS, JobStatus
from retune.server.storage.tables import EventRow, JobMetadataRow, JobRow
from retune.training_lines.keys import JsonObject

ORGANIZATION = "retune"
# The pace of a training is that of its last steps: it may have been paused, or slower at its beginning.
_STEPS_OF_PACE = 200
_JOB_BY_ID = select(JobRow.__table__).where(JobRow.id == bindparam("id"))


class JobObject(TypedDict):
    """The fine-tuning job object."""

    object: Literal["fine_tuning.job"]
    id: str
    model: str
    created_at: int
    finished_at: int | None
    fine_tuned_model: str | None
    organization_id: str
    result_files: list[str]
    status: str
    validation_file: str | None
    training_file: str
    hyperparameters: JsonObject
    trained_tokens: int | None
    error: JsonObject | None
    user_provided_suffix: str | None
    seed: int
    estimated_finish: int | None
    integrations: list[JsonObject]
    metadata: dict[str, str] | None
    usage_metrics: None
    shared_with_openai: bool
    method: JsonObject


def job_object(job: JobRow | Row[Any], *, estimated_finish: int | None = None) -> JobObject:
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
        "error": job.error,
        "user_provided_suffix": job.suffix,
        "seed": job.seed,
        "estimated_finish": estimated_finish,
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
        raise _no_such_job(job_id)
    return job


def read_job(session: Session, job_id: str) -> Row[Any]:
    """The columns of a job that will not be changed: what is asked most often, at a third of `get_job`'s cost.

    Raises:
        ApiError: 404: there is no such job.
    """
    job = session.connection().execute(_JOB_BY_ID, {"id": job_id}).one_or_none()
    if job is None:
        raise _no_such_job(job_id)
    return job


def estimate_finish(session: Session, job: JobRow | Row[Any]) -> int | None:
    """When a running job will be done, in Unix seconds, at the pace of its last steps; None where that is unknown."""
    if job.status != JobStatus.RUNNING:
        return None
    steps = select(EventRow.step, EventRow.created_at, EventRow.data).where(EventRow.job_id == job.id)
    latest = session.execute(steps.where(EventRow.step.is_not(None)).order_by(EventRow.step.desc()).limit(1)).first()
    if latest is None or latest.step == 1:
        return None
    earlier = session.execute(steps.where(EventRow.step == max(1, latest.step - _STEPS_OF_PACE))).one()
    seconds_per_step: float = (latest.created_at - earlier.created_at) / (latest.step - earlier.step)
    steps_left: int = latest.data["total_steps"] - latest.step
    newest_at: int = latest.created_at
    return newest_at + math.ceil(seconds_per_step * steps_left)


def add_job(session: Session, request: CreateJobRequest, model: Model) -> JobRow:
    """Add a job with its first events; its files are read later."""
    job = JobRow(
        id=ids.new_id("ftjob-"),
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
    if request.training_type is not None:
        add_event(session, job.id, "This server trains in one place: the job's trainingType has no effect.")
    add_event(session, job.id, validating_message(job))
    return job


def count_by_status(session: Session) -> dict[str, int]:
    """How many unfinished jobs there are of each status."""
    query = select(JobRow.status, func.count()).where(JobRow.status.in_(UNFINISHED_JOBS)).group_by(JobRow.status)
    return dict(session.execute(query).tuples().all())


def refuse_past_limit(session: Session, model: str, max_queued_jobs: int) -> None:
    """Refuse a new job where as many wait as may.

    Raises:
        ApiError: 429.
    """
    counts = count_by_status(session)
    running = counts.get(JobStatus.RUNNING, 0)
    pending = sum(counts.get(status, 0) for status in PENDING_JOBS)
    if pending >= max_queued_jobs:
        raise ApiError(
            429,
            "This fine-tune request has been rate-limited. Your organization has reached the maximum of "
            f"{running + pending} active requests ({running} running, {pending} pending) for the model '{model}'.",
            code="rate_limit_exceeded",
            retryable=True,
        )


def _no_such_job(job_id: str) -> ApiError:
    return ApiError(404, f"Could not find fine tune: {job_id}", param="fine_tune_id", code="fine_tune_not_found")
