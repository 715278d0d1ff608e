"""Runs the jobs in the database: validates their files, trains, and records how they ended.

The database is the queue: whatever is unfinished there when the server starts is resumed.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Select, case, select
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.errors import is_out_of_space
from retune.server.files import store as file_store
from retune.server.jobs import checkpoints, transitions
from retune.server.jobs.checkpoints import publish_models
from retune.server.jobs.events import RESULT_FILENAME, add_event, cut_message, step_metrics_lines
from retune.server.jobs.training_record import MissingStepsError, TrainingRecord
from retune.server.jobs.transitions import job_error
from retune.server.json_input import ReadingStoppedError
from retune.server.storage.content_store import ContentStore
from retune.server.storage.data_directory import DataDirectory
from retune.server.storage.database import Database, DatabaseUnavailableError, recording
from retune.server.storage.statuses import ACTIVE_JOBS, JobStatus
from retune.server.storage.tables import JobRow
from retune.server.training.run import TrainingRun
from retune.server.training.validation import (
    InvalidFileError,
    LearningModel,
    check_training_file,
    check_validation_file,
    count_long_examples,
)
from retune.server.work_queue import WorkQueue
from retune.trainers.base import (
    Hyperparameters,
    RequestedHyperparameters,
    Trainer,
    TrainingFinished,
    TrainingTask,
)

_log = logging.getLogger(__name__)


class JobRunner:
    """One thread validates files; `max_concurrent_jobs` threads each look after one training process."""

    def __init__(
        self,
        database: Database,
        directory: DataDirectory,
        contents: ContentStore,
        trainer: Trainer,
        *,
        max_concurrent_jobs: int,
        webhook_urls: Sequence[str] = (),
    ) -> None:
        self._database = database
        self._directory = directory
        self._contents = contents
        self._trainer = trainer
        self._webhook_urls = webhook_urls
        self._queue = WorkQueue(database, JobRow, "Jobs", self._give_up)
        self._queue.add_thread("validation", lambda: _waiting(JobStatus.VALIDATING_FILES), self._validate)
        for number in range(max_concurrent_jobs):
            name = f"training-{number}"
            self._queue.add_thread(name, lambda: _waiting(JobStatus.RUNNING, JobStatus.QUEUED), self._train)

    def start(self) -> None:
        """Start working, with the jobs that an earlier server left unfinished first."""
        checkpoints.remove_unneeded(self._database, self._directory)
        self._queue.start()

    def wake(self) -> None:
        """Check the database for work now. Running jobs notice by themselves that they were cancelled or paused."""
        self._queue.wake()

    def is_alive(self) -> bool:
        """Whether all threads run."""
        return self._queue.is_alive()

    def stop(self) -> None:
        """End all processes and threads. Unfinished jobs stay as they are, for the next server to resume."""
        self._queue.stop()

    def _give_up(self, job: JobRow, error: Exception) -> None:
        if isinstance(error, DatabaseUnavailableError):
            # Nothing is lost: it resumes once it can.
            raise error
        _log.error("Job %s failed with an error of the server", job.id, exc_info=error)
        reason = "its disk is full" if is_out_of_space(error) else f"{type(error).__name__}: {error}"
        self._fail(job, job_error("server_error", f"The server could not run this job: {reason}."))
        checkpoints.remove_unneeded(self._database, self._directory, job.id)

    def _fail(self, job: JobRow, error: dict[str, str | None], was: Sequence[JobStatus] = ACTIVE_JOBS) -> None:
        with self._database.write() as session:
            transitions.mark_failed(session, job.id, error, webhook_urls=self._webhook_urls, was=was)

    def _validate(self, job: JobRow) -> None:
        training, validation = job.training_file, job.validation_file
        should_stop = self._queue.cancellation_check(job)
        model = LearningModel(job.base_model, completes_prompts=job.base_model in self._trainer.completion_models)
        try:
            n_examples = check_training_file(self._contents.path(training), should_stop, file_id=training, model=model)
            if validation:
                check_validation_file(self._contents.path(validation), should_stop, file_id=validation, model=model)
            characters = self._trainer.context_characters
            n_long = count_long_examples(self._contents.path(training), should_stop, context_characters=characters)
        except InvalidFileError as error:
            self._fail(job, job_error(error.code, error.message, error.param), [JobStatus.VALIDATING_FILES])
            return
        except ReadingStoppedError:
            return
        requested = RequestedHyperparameters(**job.requested_hyperparameters)
        hyperparameters = self._trainer.resolve_hyperparameters(requested, n_examples=n_examples)
        with self._database.write() as session:
            if transitions.mark_queued(session, job.id, hyperparameters) and n_long:
                add_event(session, job.id, cut_message(n_long, self._trainer.context_tokens), level="warn")

    def _train(self, job: JobRow) -> None:
        with self._database.write() as session:
            if not transitions.mark_running(session, job.id):
                return
        directory = self._directory.jobs / job.id
        directory.mkdir(exist_ok=True)
        has_earlier_output = checkpoints.has_earlier_output(directory)
        record = TrainingRecord(job, self._database, self._directory)
        run = TrainingRun(self._task(job, directory), self._queue.stopping)
        try:
            self._run(job, run, record)
        except MissingStepsError:
            if not has_earlier_output:
                raise
            _log.warning("Job %s: recorded steps are missing; its training restarts from the beginning", job.id)
            checkpoints.remove_all_but(directory)
        else:
            self._conclude(job, run, record)

    def _run(self, job: JobRow, run: TrainingRun, record: TrainingRecord) -> None:
        run.replay(record.write)
        # Meanwhile the job may have been cancelled or paused, and the server may be stopping.
        if record.finished or record.failure or self._queue.stopping.is_set() or not record.write([]):
            return
        with self._database.read() as session:
            resume = checkpoints.prepare_for_training(session, job, self._directory.jobs / job.id)
        run.follow(record.write, resume=resume)

    def _task(self, job: JobRow, directory: Path) -> TrainingTask:
        return TrainingTask(
            training_file=self._contents.path(job.training_file),
            validation_file=self._contents.path(job.validation_file) if job.validation_file else None,
            directory=directory,
            base_directory=self._directory.path / job.base_directory if job.base_directory else None,
            hyperparameters=Hyperparameters.model_validate(job.hyperparameters),
            seed=job.seed,
        )

    def _conclude(self, job: JobRow, run: TrainingRun, record: TrainingRecord) -> None:
        if record.finished:
            self._succeed(job, record.finished)
        elif record.failure:
            self._fail(job, job_error("training_failed", record.failure), [JobStatus.RUNNING])
        elif not self._queue.stopping.is_set():
            # This changes nothing if the job was cancelled or paused: it is no longer running.
            self._fail(job, job_error("training_process_died", run.describe_end()), [JobStatus.RUNNING])
        checkpoints.remove_unneeded(self._database, self._directory, job.id)

    def _succeed(self, job: JobRow, finished: TrainingFinished) -> None:
        with self._contents.new_draft(ids.new_id("file-")) as draft:
            with self._database.read() as session:
                size = sum(draft.write(line) for line in step_metrics_lines(session, job.id))
            with recording(self._database, draft) as session:
                succeeded = transitions.mark_succeeded(
                    session,
                    job,
                    trained_tokens=finished.trained_tokens,
                    result_file=draft.content_id,
                    webhook_urls=self._webhook_urls,
                )
                if not succeeded:
                    draft.discard()
                    return
                _add_result_file(session, draft.content_id, size)
                publish_models(session, job, self._directory.relative(finished.directory))


def _add_result_file(session: Session, file_id: str, size: int) -> None:
    purpose = "fine-tune-results"
    file_store.add_file(session, file_id=file_id, filename=RESULT_FILENAME, purpose=purpose, size=size)


def _waiting(*statuses: JobStatus) -> Select[tuple[JobRow]]:
    """Jobs of these statuses: those of the first status first, the oldest first."""
    urgency = case({status: rank for rank, status in enumerate(statuses)}, value=JobRow.status)
    return select(JobRow).where(JobRow.status.in_(statuses)).order_by(urgency, JobRow.position)
