"""What a training process reports, written into the database: each step's event once, each checkpoint in its turn."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from retune.server.jobs.checkpoints import add_checkpoint
from retune.server.jobs.events import add_event, add_metrics_event
from retune.server.jobs.transitions import is_running
from retune.server.storage.content_store import sync_to_disk
from retune.server.storage.data_directory import DataDirectory
from retune.server.storage.database import Database
from retune.server.storage.tables import CheckpointRow, EventRow, JobRow
from retune.server.training.process import ProcessUpdate, TrainingFailed
from retune.trainers.base import CheckpointSaved, StepMetrics, TrainingFinished


class MissingStepsError(Exception):
    """A training continues after steps that it never reported."""


class TrainingRecord:
    """The record of one job's training.

    A resumed training repeats the steps after its last checkpoint, and its journal repeats what was
    written down before; what is on record already is not written a second time.

    Attributes:
        finished: What the process reported at its end; None as long as it has not.
        failure: Why the trainer gave up, in its own words; None where it did not.
    """

    def __init__(self, job: JobRow, database: Database, directory: DataDirectory) -> None:
        self.finished: TrainingFinished | None = None
        self.failure: str | None = None
        self._job = job
        self._database = database
        self._directory = directory
        self._latest: StepMetrics | None = None
        steps = select(func.max(EventRow.step)).where(EventRow.job_id == job.id)
        checkpoints = select(func.max(CheckpointRow.step_number)).where(CheckpointRow.job_id == job.id)
        with database.read() as session:
            self._last_step = session.scalar(steps) or 0
            self._last_checkpoint_step = session.scalar(checkpoints) or 0

    def write(self, updates: Sequence[ProcessUpdate]) -> bool:
        """Write updates in one transaction; False if the job is no longer running, and nothing was written.

        Raises:
            MissingStepsError: Steps between the last one on record and these were never reported.
        """
        if not updates:
            with self._database.read() as session:
                return is_running(session, self._job.id)
        for update in updates:
            if isinstance(update, CheckpointSaved) and update.step > self._last_checkpoint_step:
                _bring_to_disk(update.directory)
        dropped: list[str] = []
        with self._database.write() as session:
            if not is_running(session, self._job.id):
                return False
            for update in updates:
                dropped += self._write_one(session, update)
        for directory in dropped:
            shutil.rmtree(self._directory.path / directory, ignore_errors=True)
        return True

    def _write_one(self, session: Session, update: ProcessUpdate) -> list[str]:
        match update:
            case StepMetrics():
                self._write_step(session, update)
            case CheckpointSaved():
                return self._write_checkpoint(session, update)
            case TrainingFinished():
                self.finished = update
            case TrainingFailed():
                self.failure = update.message
        return []

    def _write_step(self, session: Session, metrics: StepMetrics) -> None:
        if metrics.step > self._last_step + 1:
            raise MissingStepsError(f"step {metrics.step} was reported after step {self._last_step}")
        self._latest = metrics
        if metrics.step > self._last_step:
            self._last_step = metrics.step
            add_metrics_event(session, self._job.id, metrics)

    def _write_checkpoint(self, session: Session, saved: CheckpointSaved) -> list[str]:
        if saved.step <= self._last_checkpoint_step:
            return []
        if self._latest is None or self._latest.step != saved.step:
            raise MissingStepsError(f"a checkpoint of step {saved.step} was saved without that step's metrics")
        self._last_checkpoint_step = saved.step
        directory = self._directory.relative(saved.directory)
        checkpoint, dropped = add_checkpoint(session, self._job, self._latest, directory)
        if checkpoint.model_name != self._job.model_name:
            text = f"Checkpoint created at step {saved.step} with Snapshot ID: {checkpoint.model_name}"
            add_event(session, self._job.id, text)
        return dropped


def _bring_to_disk(directory: Path) -> None:
    """Have the system write a checkpoint to the disk, before the database says that there is one."""
    for path in [*directory.rglob("*"), directory, directory.parent]:
        # The trainer, a step further by now, may remove what it no longer needs.
        with suppress(FileNotFoundError):
            sync_to_disk(path)
