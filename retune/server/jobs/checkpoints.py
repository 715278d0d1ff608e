"""Checkpoints of a job in the database, and the models that they become when the job succeeds."""

import time
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.jobs.store import ORGANIZATION
from retune.server.storage.tables import CheckpointRow, JobRow, ModelRow
from retune.trainers.base import StepMetrics

KEPT_CHECKPOINTS = 3


def checkpoint_object(row: CheckpointRow) -> dict[str, Any]:
    """The checkpoint object."""
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": row.id,
        "created_at": row.created_at,
        "fine_tuned_model_checkpoint": row.model_name,
        "fine_tuning_job_id": row.job_id,
        "metrics": row.metrics,
        "step_number": row.step_number,
    }


def checkpoints_of(session: Session, job_id: str) -> list[CheckpointRow]:
    """A job's checkpoints, latest step first."""
    query = select(CheckpointRow).where(CheckpointRow.job_id == job_id).order_by(CheckpointRow.step_number.desc())
    return list(session.scalars(query))


def add_checkpoint(
    session: Session, job: JobRow, metrics: StepMetrics, directory: str
) -> tuple[CheckpointRow, list[str]]:
    """Add a checkpoint and drop those that are too old to keep.

    Args:
        session: A writing session.
        job: Whose checkpoint it is.
        metrics: Those of its step.
        directory: Where it is, relative to the data directory.

    Returns:
        The checkpoint, which bears the fine-tuned model's own name if it is the last one, and the directories of
        those that were dropped, for the caller to remove once this is committed.
    """
    row = CheckpointRow(
        id=ids.new_checkpoint_id(),
        job_id=job.id,
        created_at=int(time.time()),
        step_number=metrics.step,
        model_name=_checkpoint_name(job, metrics),
        metrics=metrics.model_dump(exclude={"kind", "total_steps"}, exclude_none=True),
        directory=directory,
    )
    session.add(row)
    session.flush()
    outdated = checkpoints_of(session, job.id)[KEPT_CHECKPOINTS:]
    for old in outdated:
        session.delete(old)
    return row, [old.directory for old in outdated]


def _checkpoint_name(job: JobRow, metrics: StepMetrics) -> str:
    if metrics.step == metrics.total_steps:
        return job.model_name
    return ids.new_checkpoint_model_name(job.base_model, ORGANIZATION, job.suffix, metrics.step)


def publish_models(session: Session, job: JobRow, final_directory: str) -> None:
    """Let the fine-tuned model and the other checkpoints of a job answer."""
    directories = {row.model_name: row.directory for row in reversed(checkpoints_of(session, job.id))}
    directories[job.model_name] = final_directory
    now = int(time.time())
    session.add_all(
        ModelRow(name=name, created_at=now, base_model=job.base_model, directory=directory)
        for name, directory in directories.items()
    )
