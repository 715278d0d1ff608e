"""Works off the jobs in the database: validates their files, trains them, writes down how they ended.

The queue is the database itself: whatever is not finished there when the server starts is taken up again.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Select, case, select

from retune.server import ids
from retune.server.api.errors import is_out_of_space
from retune.server.background import LOOK_AGAIN_SECONDS
from retune.server.files import store as file_store
from retune.server.jobs import directories, transitions
from retune.server.jobs.checkpoints import publish_models
from retune.server.jobs.result_file import RESULT_FILENAME, step_metrics_lines
from retune.server.jobs.statuses import ACTIVE, JobStatus
from retune.server.jobs.transitions import job_error
from retune.server.storage.content_store import ContentStore
from retune.server.storage.data_directory import DataDirectory
from retune.server.storage.database import Database, DatabaseUnavailableError
from retune.server.storage.tables import JobRow
from retune.server.training.record import MissingStepsError, TrainingRecord
from retune.server.training.run import TrainingRun
from retune.server.training.validation import (
    InvalidFileError,
    LearningModel,
    ValidationStopped,
    check_training_file,
    check_validation_file,
)
from retune.trainers.base import (
    Hyperparameters,
    RequestedHyperparameters,
    Trainer,
    TrainingFinished,
    TrainingTask,
)

_log = logging.getLogger(__name__)
_PAUSE_AFTER_TROUBLE_SECONDS = 5.0


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
        # Guards what follows, and is notified when there may be something to do.
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._taken: set[str] = set()
        self._runs: dict[str, TrainingRun] = {}
        validating = threading.Thread(
            target=self._work_off, args=((JobStatus.VALIDATING_FILES,), self._validate), name="validation"
        )
        training = (
            threading.Thread(
                target=self._work_off,
                args=((JobStatus.RUNNING, JobStatus.QUEUED), self._train),
                name=f"training-{number}",
            )
            for number in range(max_concurrent_jobs)
        )
        self._threads = [validating, *training]

    def start(self) -> None:
        """Begin to work, with the jobs that an earlier server left unfinished first."""
        directories.clean_up(self._database, self._directory)
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look for work now. Whether a running job was cancelled or paused is looked at all the time."""
        with self._changed:
            self._changed.notify_all()

    def stop(self) -> None:
        """End all processes and threads. Unfinished jobs stay as they are, for the next server to take up."""
        self._stopping.set()
        with self._changed:
            runs = list(self._runs.values())
            self._changed.notify_all()
        for run in runs:
            run.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _work_off(self, statuses: tuple[JobStatus, ...], work: Callable[[JobRow], None]) -> None:
        while (job := self._take(statuses)) is not None:
            try:
                work(job)
            except Exception as error:  # noqa: BLE001  # whatever one job meets, the next must run
                self._give_up(job, error)
            finally:
                with self._changed:
                    self._taken.discard(job.id)
                    self._changed.notify_all()

    def _take(self, statuses: tuple[JobStatus, ...]) -> JobRow | None:
        """Wait for a job of one of these statuses, the first status first; None when the server stops."""
        urgency = case({status: rank for rank, status in enumerate(statuses)}, value=JobRow.status)
        query = select(JobRow).where(JobRow.status.in_(statuses)).order_by(urgency, JobRow.position)
        with self._changed:
            while not self._stopping.is_set():
                job = self._first(query.where(JobRow.id.not_in(self._taken)))
                if job is not None:
                    self._taken.add(job.id)
                    return job
                self._changed.wait(LOOK_AGAIN_SECONDS)
        return None

    def _first(self, query: Select[tuple[JobRow]]) -> JobRow | None:
        try:
            with self._database.read() as session:
                return session.scalar(query.limit(1))
        except DatabaseUnavailableError as error:
            _log.warning("Can't look for jobs: %s", error)
            return None

    def _give_up(self, job: JobRow, error: Exception) -> None:
        if isinstance(error, DatabaseUnavailableError):
            _log.warning("Job %s waits for the database: %s", job.id, error)
            self._stopping.wait(_PAUSE_AFTER_TROUBLE_SECONDS)
            return
        _log.error("Job %s met an error of the server", job.id, exc_info=error)
        reason = "its disk is full" if is_out_of_space(error) else f"{type(error).__name__}: {error}"
        try:
            self._fail(job, job_error("server_error", f"The server could not run this job: {reason}."))
            directories.clean_up(self._database, self._directory, job.id)
        except Exception:  # noqa: BLE001  # nothing can be written now: the job stays as it is and is tried again
            _log.exception("Job %s could not be marked as failed", job.id)
            self._stopping.wait(_PAUSE_AFTER_TROUBLE_SECONDS)

    def _fail(self, job: JobRow, error: dict[str, str | None], was: Sequence[JobStatus] = ACTIVE) -> None:
        with self._database.write() as session:
            transitions.mark_failed(session, job.id, error, webhook_urls=self._webhook_urls, was=was)

    def _validate(self, job: JobRow) -> None:
        training, validation = job.training_file, job.validation_file
        model = LearningModel(job.base_model, completes_prompts=job.base_model in self._trainer.completion_models)
        try:
            n_examples = check_training_file(
                self._contents.path(training), self._stopping, file_id=training, model=model
            )
            if validation:
                check_validation_file(self._contents.path(validation), self._stopping, file_id=validation, model=model)
        except InvalidFileError as error:
            self._fail(job, job_error(error.code, error.message, error.param), [JobStatus.VALIDATING_FILES])
            return
        except ValidationStopped:
            return
        requested = RequestedHyperparameters(**job.requested_hyperparameters)
        hyperparameters = self._trainer.resolve_hyperparameters(requested, n_examples=n_examples)
        with self._database.write() as session:
            transitions.mark_queued(session, job.id, hyperparameters)

    def _train(self, job: JobRow) -> None:
        with self._database.write() as session:
            if not transitions.mark_running(session, job.id):
                return
        directory = self._directory.jobs / job.id
        directory.mkdir(exist_ok=True)
        has_history = directories.has_history(directory)
        record = TrainingRecord(job, self._database, self._directory)
        run = TrainingRun(self._task(job, directory))
        with self._changed:
            self._runs[job.id] = run
        try:
            self._run(job, run, record)
        except MissingStepsError:
            if not has_history:
                raise
            _log.warning("Job %s: steps are missing on record; its training starts over", job.id)
            directories.remove_all_but(directory)
        else:
            self._conclude(job, run, record)
        finally:
            with self._changed:
                del self._runs[job.id]

    def _run(self, job: JobRow, run: TrainingRun, record: TrainingRecord) -> None:
        run.catch_up(record.write)
        # Whoever cancelled, paused or stopped before this run was known to them could not end it.
        if record.finished or record.failure or self._stopping.is_set() or not record.write([]):
            return
        with self._database.read() as session:
            resume = directories.prepare_for_training(session, job, self._directory.jobs / job.id)
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
        elif not self._stopping.is_set():
            # Where the job was cancelled or paused this fails nothing: it is running no more.
            self._fail(job, job_error("training_process_died", run.describe_end()), [JobStatus.RUNNING])
        directories.clean_up(self._database, self._directory, job.id)

    def _succeed(self, job: JobRow, finished: TrainingFinished) -> None:
        file_id = ids.new_file_id()
        with self._database.read() as session:
            size = self._contents.add(file_id, step_metrics_lines(session, job.id))
        with self._database.write() as session:
            succeeded = transitions.mark_succeeded(
                session,
                job,
                trained_tokens=finished.trained_tokens,
                result_file=file_id,
                webhook_urls=self._webhook_urls,
            )
            if succeeded:
                file_store.add_file(
                    session, file_id=file_id, filename=RESULT_FILENAME, purpose="fine-tune-results", size=size
                )
                publish_models(session, job, self._directory.relative(finished.directory))
        if not succeeded:
            self._contents.remove(file_id)
