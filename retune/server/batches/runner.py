"""Runs the batches in the database: checks their input files, answers their requests, writes their result files.

The queue is the database itself: whatever is unfinished there when the server starts is resumed. One request
of a batch is answered at a time. Batches take turns, and let those go first who wait for their answers.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Select, and_, case, or_, select

from retune.server.batches import store as batch_store
from retune.server.batches.answering import answer_request, unanswered
from retune.server.batches.requests import BatchError, BatchRequest, InvalidInputError, check_input_file, requests_of
from retune.server.batches.results import Journal, ResultFiles, result_line
from retune.server.files.rules import SPARE_BYTES
from retune.server.json_input import ReadingStoppedError
from retune.server.services import Services
from retune.server.storage.statuses import BatchStatus
from retune.server.storage.tables import BatchRow
from retune.server.work_queue import WorkQueue, is_retryable
from retune.trainers.interruption import InterruptedWorkError, checkpoint, interruptible

_log = logging.getLogger(__name__)
_ANSWERING_THREADS = 2
_TURN_SECONDS = 1.0
# Those that wait for their next turn; of more than that, each turn reads again what was answered.
_KEPT_OPEN = 16
# A batch works this long, then waits at most this long while interactive requests need the models.
_WORK_SECONDS, _GIVE_WAY_SECONDS = 0.05, 0.2
_UNANSWERED = {
    BatchStatus.EXPIRED: (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    BatchStatus.CANCELLED: ("batch_cancelled", "The batch was cancelled before this request was executed."),
}
_ENDS = {
    BatchStatus.FINALIZING: BatchStatus.COMPLETED,
    BatchStatus.CANCELLING: BatchStatus.CANCELLED,
    BatchStatus.IN_PROGRESS: BatchStatus.EXPIRED,
}


class JournalDamagedError(Exception):
    """A journal has lost recorded answers."""


@dataclass(frozen=True, slots=True)
class _OpenBatch:
    """A batch between its turns: its results so far, and the requests that remain."""

    journal: Journal
    requests: Iterator[BatchRequest]


class BatchRunner:
    """Two threads answer requests, another one checks input files and ends batches."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._database = services.database
        self._contents = services.contents
        self._webhook_urls = services.settings.webhook_urls
        self._journals = services.directory.batches
        self._queue = WorkQueue(services.database, BatchRow, "Batches", self._give_up)
        self._open: dict[str, _OpenBatch] = {}
        self._last_position = 0
        for number in range(_ANSWERING_THREADS):
            self._queue.add_thread(f"batch-requests-{number}", self._to_answer, self._take_turn)
        self._queue.add_thread("batch-files", _to_check_or_end, self._check_or_end)

    def start(self) -> None:
        """Start working, with the batches that an earlier server left unfinished first."""
        self._clean_after_earlier_server()
        self._queue.start()

    def wake(self) -> None:
        """Check the database for work now."""
        self._queue.wake()

    def is_alive(self) -> bool:
        """Whether all threads run."""
        return self._queue.is_alive()

    def stop(self) -> None:
        """End all threads, in the middle of requests too. The next server resumes unfinished batches."""
        self._queue.stop()
        for batch_id in list(self._open):
            self._close(batch_id)

    def _give_up(self, batch: BatchRow, error: Exception) -> None:
        if is_retryable(error):
            # Nothing is lost: it resumes once it can.
            raise error
        _log.error("Batch %s failed with an error of the server", batch.id, exc_info=error)
        message = f"The server met an error while it ran this batch ({type(error).__name__}). Its log says more."
        self._fail(batch, [{"code": "server_error", "message": message, "param": None, "line": None}])

    def _take_turn(self, batch: BatchRow) -> None:
        """Answer requests of a batch for a while; then it is another one's turn."""
        self._last_position = batch.position
        self._contents.require_space(0, spare_bytes=SPARE_BYTES)
        try:
            has_more = self._answer(batch, self._opened(batch))
        except BaseException:
            self._close(batch.id)
            raise
        if not has_more or len(self._open) > _KEPT_OPEN:
            self._close(batch.id)

    def _answer(self, batch: BatchRow, opened: _OpenBatch) -> bool:
        ends_at = time.monotonic() + _TURN_SECONDS
        try:
            with interruptible(self._check_of(batch)):
                while time.monotonic() < ends_at:
                    checkpoint()
                    request = next(opened.requests, None)
                    if request is None:
                        break
                    self._contents.require_space(0, spare_bytes=SPARE_BYTES)
                    opened.journal.append(answer_request(self._services, batch.endpoint, request))
        except InterruptedWorkError:
            # The current request is not answered: the next turn of the batch begins with it.
            self._record(batch, opened.journal)
            return False
        return self._record(batch, opened.journal)

    def _check_of(self, batch: BatchRow) -> Callable[[], None]:
        """The check that a batch's requests run: it aborts unwanted work, and lets other requests go first."""
        is_cancelled, since = self._queue.cancellation_check(batch), time.monotonic()

        def check() -> None:
            nonlocal since
            if is_cancelled() or time.time() >= batch.expires_at:
                raise InterruptedWorkError
            if time.monotonic() - since >= _WORK_SECONDS:
                self._services.model_slots.yield_to_others(_GIVE_WAY_SECONDS)
                since = time.monotonic()

        return check

    def _opened(self, batch: BatchRow) -> _OpenBatch:
        opened = self._open.get(batch.id)
        if opened is None:
            journal = self._open_journal(batch)
            opened = _OpenBatch(journal, requests_of(self._input_path(batch), skip=journal.tally.answered))
            self._open[batch.id] = opened
        return opened

    def _close(self, batch_id: str) -> None:
        opened = self._open.pop(batch_id, None)
        if opened:
            opened.journal.close()

    def _record(self, batch: BatchRow, journal: Journal) -> bool:
        """Record the results that are on disk; False if there is nothing left to answer."""
        journal.sync()
        is_done = journal.tally.answered == batch.total
        with self._database.write() as session:
            if not is_done:
                return batch_store.record_progress(session, batch.id, journal.tally)
            batch_store.mark_finalizing(session, batch.id, journal.tally)
        return False

    def _check_or_end(self, batch: BatchRow) -> None:
        if batch.status == BatchStatus.VALIDATING:
            self._check(batch)
        else:
            self._end(batch, _ENDS[BatchStatus(batch.status)])

    def _check(self, batch: BatchRow) -> None:
        try:
            checked = check_input_file(self._input_path(batch), batch.endpoint, self._queue.cancellation_check(batch))
        except InvalidInputError as error:
            self._fail(batch, error.errors)
        except ReadingStoppedError:
            return
        else:
            with self._database.write() as session:
                batch_store.mark_in_progress(session, batch.id, checked)

    def _end(self, batch: BatchRow, status: BatchStatus) -> None:
        self._close(batch.id)
        with ResultFiles(self._contents, batch.id) as files:
            for line in self._results(batch, status):
                if self._queue.stopping.is_set():
                    files.discard()
                    return
                files.add(line)
            output, errors = files.keep()
            with self._database.write() as session:
                has_ended = batch_store.mark_ended(
                    session, batch, status, files.tally, output=output, errors=errors, webhook_urls=self._webhook_urls
                )
            if not has_ended:
                files.discard()
                return
        _log.info("Batch %s is %s: %s", batch.id, status, files.tally)
        self._journal_path(batch.id).unlink(missing_ok=True)
        self._services.wake()

    def _results(self, batch: BatchRow, status: BatchStatus) -> Iterator[bytes]:
        """The lines of a batch's result files: all answers, then the requests that will never be answered."""
        if batch.in_progress_at is None:
            return
        with closing(self._open_journal(batch)) as journal:
            self._contents.require_space(journal.size, spare_bytes=SPARE_BYTES)
            if status == BatchStatus.COMPLETED and journal.tally.answered != batch.total:
                raise JournalDamagedError(f"its answers were damaged on disk after request {journal.tally.answered}")
            yield from journal.lines()
            if status != BatchStatus.COMPLETED:
                for request in requests_of(self._input_path(batch), skip=journal.tally.answered):
                    yield result_line(unanswered(request, *_UNANSWERED[status]))

    def _fail(self, batch: BatchRow, errors: list[BatchError]) -> None:
        with self._database.write() as session:
            batch_store.mark_failed(session, batch.id, errors, self._webhook_urls)
        self._services.wake()

    def _open_journal(self, batch: BatchRow) -> Journal:
        return Journal(self._journal_path(batch.id), requests_of(self._input_path(batch)))

    def _journal_path(self, batch_id: str) -> Path:
        return self._journals / f"{batch_id}.jsonl"

    def _input_path(self, batch: BatchRow) -> Path:
        return self._contents.path(batch.input_file_id)

    def _to_answer(self) -> Select[tuple[BatchRow]]:
        """Batches whose requests are to be answered, beginning after the one that had the last turn."""
        in_time = BatchRow.expires_at > int(time.time())
        had_its_turn = case((BatchRow.position > self._last_position, 0), else_=1)
        rows = select(BatchRow).where(BatchRow.status == BatchStatus.IN_PROGRESS, in_time)
        return rows.order_by(had_its_turn, BatchRow.position)

    def _clean_after_earlier_server(self) -> None:
        """Remove the journals of batches with result files; that of a failed batch is the only copy of its answers."""
        made = (BatchStatus.COMPLETED, BatchStatus.EXPIRED, BatchStatus.CANCELLED)
        with self._database.read() as session:
            for path in self._journals.iterdir():
                if batch_store.status_of(session, path.stem) in made:
                    path.unlink()


def _to_check_or_end() -> Select[tuple[BatchRow]]:
    """Batches to end, then batches to check."""
    overdue = and_(BatchRow.status == BatchStatus.IN_PROGRESS, BatchRow.expires_at <= int(time.time()))
    others = BatchRow.status.in_((BatchStatus.VALIDATING, BatchStatus.FINALIZING, BatchStatus.CANCELLING))
    is_last = case((BatchRow.status == BatchStatus.VALIDATING, 1), else_=0)
    return select(BatchRow).where(or_(overdue, others)).order_by(is_last, BatchRow.position)
