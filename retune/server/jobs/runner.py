"""Works off the jobs in the database: validates their files, trains them, writes down how they ended.

The queue is the database itself: whatever is not finished there when the server starts is taken up again.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from sqlalchemy import case, select

from retune.server import ids
from retune.server.api.errors import is_out_of_space
from retune.server.background import LOOK_AGAIN_SECONDS
from retune.server.files import store as file_store
from retune.server.jobs import store as job_store
from retune.server.jobs.checkpoints import checkpoints_of, publish_models
from retune.server.jobs.events import add_event
from retune.server.jobs.result_file import RESULT_FILENAME, step_metrics_lines
from retune.server.jobs.statuses import JobStatus
from retune.server.storage.content_store import ContentStore
from retune.server.storage.data_directory import DataDirectory
from retune.server.storage.database import Database
from retune.server.storage.tables import JobRow
from retune.server.training.record import MissingStepsError, TrainingRecord
from retune.server.training.run import JOURNAL_NAME, LOG_NAME, TrainingRun
from retune.server.training.validation import (
    InvalidFileError,
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
    ) -> None:
        self._database = database
        self._directory = directory
        self._contents = contents
        self._trainer = trainer
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
        self._clean_after_earlier_server()
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look for work now. Whether a running job was cancelled is looked at all the time."""
        with self._changed:
            self._changed.notify_all()

    def stop(self) -> None:
        """End all processes and threads. Unfinished jobs stay as they are, for the next server to take up."""
        self._stopping.set()
        with self._changed:
            runs = list(self._runs.values())
            self._changed.notify_all()
        for run in runs:
            run.kill()
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
                with self._database.read() as session:
                    job = session.scalar(query.where(JobRow.id.not_in(self._taken)).limit(1))
                if job is not None:
                    self._taken.add(job.id)
                    return job
                self._changed.wait(LOOK_AGAIN_SECONDS)
        return None

    def _give_up(self, job: JobRow, error: Exception) -> None:
        _log.error("Job %s met an error of the server", job.id, exc_info=error)
        reason = "its disk is full" if is_out_of_space(error) else f"{type(error).__name__}: {error}"
        try:
            with self._database.write() as session:
                job_store.mark_failed(
                    session, job.id, code="server_error", message=f"The server could not run this job: {reason}."
                )
        except Exception:  # noqa: BLE001  # nothing can be written now: the job stays as it is and is tried again
            _log.exception("Job %s could not be marked as failed", job.id)
            self._stopping.wait(_PAUSE_AFTER_TROUBLE_SECONDS)

    def _validate(self, job: JobRow) -> None:
        try:
            n_examples = check_training_file(self._contents.path(job.training_file), self._stopping)
            if job.validation_file:
                check_validation_file(self._contents.path(job.validation_file), self._stopping)
        except InvalidFileError as error:
            with self._database.write() as session:
                job_store.mark_failed(session, job.id, code=error.code, message=error.message, param=error.param)
            return
        except ValidationStopped:
            return
        requested = RequestedHyperparameters(**job.requested_hyperparameters)
        hyperparameters = self._trainer.resolve_hyperparameters(requested, n_examples=n_examples)
        with self._database.write() as session:
            job_store.mark_queued(session, job.id, hyperparameters)

    def _train(self, job: JobRow) -> None:
        with self._database.write() as session:
            if not job_store.mark_running(session, job.id):
                return
        directory = self._directory.jobs / job.id
        directory.mkdir(exist_ok=True)
        has_history = any(entry.name != LOG_NAME for entry in directory.iterdir())
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
            _remove_all_but(directory)
        else:
            self._conclude(job, run, record)
        finally:
            with self._changed:
                del self._runs[job.id]

    def _run(self, job: JobRow, run: TrainingRun, record: TrainingRecord) -> None:
        run.catch_up(record.write)
        # Whoever cancelled or stopped before this run was known to them could not end it.
        if record.finished or record.failure or self._stopping.is_set() or not record.write([]):
            return
        run.follow(record.write, resume=self._prepare_directory(job))

    def _task(self, job: JobRow, directory: Path) -> TrainingTask:
        return TrainingTask(
            training_file=self._contents.path(job.training_file),
            validation_file=self._contents.path(job.validation_file) if job.validation_file else None,
            directory=directory,
            base_directory=self._directory.path / job.base_directory if job.base_directory else None,
            hyperparameters=Hyperparameters.model_validate(job.hyperparameters),
            seed=job.seed,
        )

    def _prepare_directory(self, job: JobRow) -> bool:
        """Leave the checkpoints on record in the directory, and nothing else; tell whether to resume from them."""
        with self._database.read() as session:
            recorded = [Path(row.directory).name for row in checkpoints_of(session, job.id)]
        directory = self._directory.jobs / job.id
        newest = max((path.name for path in directory.glob("epoch-*")), default=None)
        if recorded and newest == recorded[0]:
            _remove_all_but(directory, [JOURNAL_NAME, *recorded])
            return True
        # A checkpoint that nobody told of, or one that is gone: only the first step is sure ground.
        _remove_all_but(directory)
        return False

    def _conclude(self, job: JobRow, run: TrainingRun, record: TrainingRecord) -> None:
        if record.finished:
            self._succeed(job, record.finished)
            return
        if self._stopping.is_set():
            return
        code, message = (
            ("training_failed", record.failure) if record.failure else ("training_process_died", run.describe_end())
        )
        with self._database.write() as session:
            job_store.mark_failed(session, job.id, code=code, message=message)
        _remove_all_but(self._directory.jobs / job.id)

    def _succeed(self, job: JobRow, finished: TrainingFinished) -> None:
        file_id = ids.new_file_id()
        with self._database.read() as session:
            size = self._contents.add(file_id, step_metrics_lines(session, job.id))
        with self._database.write() as session:
            succeeded = job_store.mark_succeeded(
                session, job.id, trained_tokens=finished.trained_tokens, result_file=file_id
            )
            if succeeded:
                file_store.add_file(
                    session, file_id=file_id, filename=RESULT_FILENAME, purpose="fine-tune-results", size=size
                )
                publish_models(session, job, self._directory.relative(finished.directory))
                add_event(session, job.id, f"New fine-tuned model created: {job.model_name}")
                add_event(session, job.id, "The job has successfully completed")
            kept = [Path(row.directory).name for row in checkpoints_of(session, job.id)]
        if not succeeded:
            self._contents.remove(file_id)
        _remove_all_but(self._directory.jobs / job.id, [finished.directory.name, *kept] if succeeded else [])

    def _clean_after_earlier_server(self) -> None:
        ended = (JobStatus.FAILED, JobStatus.CANCELLED)
        with self._database.read() as session:
            for job_id in session.scalars(select(JobRow.id).where(JobRow.status.in_(ended))):
                _remove_all_but(self._directory.jobs / job_id)


def _remove_all_but(directory: Path, names: Collection[str] = ()) -> None:
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
