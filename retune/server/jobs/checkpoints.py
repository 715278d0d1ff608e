"""Checkpoints of a job: their rows, the models that they become when the job succeeds, and their directories.

The database alone decides which directories stay; whatever a killed server left besides those is removed at the next
start.
"""

import logging
import shutil
import time
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Literal, TypedDict

from sqlalchemy import select
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.jobs.store import ORGANIZATION
from retune.server.storage.data_directory import DataDirectory
from retune.server.storage.database import Database
from retune.server.storage.statuses import UNFINISHED_JOBS
from retune.server.storage.tables import CheckpointRow, JobRow, ModelRow
from retune.server.training.run import JOURNAL_NAME, LOG_NAME
from retune.trainers.base import StepMetrics
from retune.training_lines.keys import JsonObject

KEPT_CHECKPOINTS = 3
_log = logging.getLogger(__name__)


class CheckpointObject(TypedDict):
    """The checkpoint object."""

    object: Literal["fine_tuning.job.checkpoint"]
    id: str
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    metrics: JsonObject
    step_number: int


def checkpoint_object(row: CheckpointRow) -> CheckpointObject:
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
        id=ids.new_id("ftckpt_"),
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


def remove_all_but(directory: Path, names: Collection[str] = ()) -> None:
    """Remove checkpoints and leftovers of a job; what its process printed stays, for the operator."""
    if not directory.is_dir():
        return
    for entry in directory.iterdir():
        if entry.name in names or entry.name == LOG_NAME:
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def has_earlier_output(directory: Path) -> bool:
    """Whether an earlier training process left anything in a job's directory."""
    return any(entry.name != LOG_NAME for entry in directory.iterdir())


def prepare_for_training(session: Session, job: JobRow, directory: Path) -> bool:
    """Remove all but the recorded checkpoints from a job's directory; return whether to resume from them."""
    recorded = [Path(row.directory).name for row in checkpoints_of(session, job.id)]
    newest = max((path.name for path in directory.glob("epoch-*")), default=None)
    if recorded and newest == recorded[0]:
        remove_all_but(directory, [JOURNAL_NAME, *recorded])
        return True
    # A checkpoint is unrecorded or missing: training must start from the first step.
    remove_all_but(directory)
    return False


def remove_unneeded(database: Database, data_directory: DataDirectory, job_id: str | None = None) -> None:
    """Remove what ended jobs no longer need: everything but the checkpoints that are models.

    Args:
        database: Where the models are recorded.
        data_directory: Where the jobs' directories are.
        job_id: The one job to clean up after; None for all of them.
    """
    ended = select(JobRow.id).where(JobRow.status.not_in(UNFINISHED_JOBS))
    models = select(ModelRow.directory)
    if job_id is not None:
        ended = ended.where(JobRow.id == job_id)
        parent = data_directory.relative(data_directory.jobs / job_id)
        models = models.where(ModelRow.directory.startswith(f"{parent}/", autoescape=True))
    with database.read() as session:
        directories = [data_directory.jobs / name for name in session.scalars(ended)]
        kept: defaultdict[Path, list[str]] = defaultdict(list)
        for path in (data_directory.path / name for name in session.scalars(models)):
            kept[path.parent].append(path.name)
    for directory in directories:
        try:
            remove_all_but(directory, kept[directory])
        except OSError as error:
            # A request and the job's own thread may do this at once. What is left is removed at the next start.
            _log.info("%s could not be removed completely; the next start removes the rest: %s", directory, error)
