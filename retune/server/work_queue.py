"""Background work: training jobs, batches, notifications.

`WorkQueue` has threads that process rows of the database, each row in one thread at a time; an error with one row does
not stop the others.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.exc import DBAPIError

from retune.server.errors import is_out_of_space
from retune.server.storage.database import Database, DatabaseUnavailableError
from retune.server.storage.tables import BatchRow, JobRow

# Other processes may answer requests; their changes are seen in the database only.
POLL_SECONDS: Final = 0.5
Row = TypeVar("Row", JobRow, BatchRow)
_log = logging.getLogger(__name__)


class BackgroundWork(Protocol):
    """Processes what is in the database, in threads of its own. All methods may be called from any thread.

    The database is the queue: what an earlier server left unfinished is resumed, and a change is noticed after
    `POLL_SECONDS` even without a call of `wake`.
    """

    def start(self) -> None:
        """Start working."""
        ...

    def wake(self) -> None:
        """Poll the database now: something may have been added, or cancelled."""
        ...

    def is_alive(self) -> bool:
        """Whether all started threads run: none ends before `stop`, except by a bug of the server."""
        ...

    def stop(self) -> None:
        """End all threads and processes, leaving unfinished work for the next server; a second call does nothing."""
        ...


class WorkQueue(Generic[Row]):
    """Assigns waiting rows to threads. The database is the queue; this knows which rows are being processed.

    A thread that meets an error logs it once, pauses, and retries until the error is gone.

    Args:
        database: Where the rows are.
        table: Their table.
        name: Plural name of the rows, for the log: `Jobs`.
        give_up: Ends a row whose work raised an error. If it raises too, the row is processed again later.
        poll_seconds: How often the database is polled.
        pause_after_error_seconds: How long a thread pauses after an error.
        status_check_seconds: How often long work reads its row's status.

    Attributes:
        stopping: Set once the queue is stopping. Long work checks it.
    """

    def __init__(
        self,
        database: Database,
        table: type[Row],
        name: str,
        give_up: Callable[[Row, Exception], None],
        *,
        poll_seconds: float = POLL_SECONDS,
        pause_after_error_seconds: float = 2.0,
        status_check_seconds: float = 0.25,
    ) -> None:
        self.stopping = threading.Event()
        self._database = database
        self._table: type[Row] = table
        self._name = name
        self._give_up: Callable[[Row, Exception], None] = give_up
        self._poll_seconds = poll_seconds
        self._pause_after_error_seconds = pause_after_error_seconds
        self._status_check_seconds = status_check_seconds
        self._threads: list[threading.Thread] = []
        # Requests call `wake`: the database must not be queried while this is held.
        self._changed = threading.Condition()
        self._n_changes = 0
        # Held from reading a row to taking it: so a row is read after the previous work on it has ended.
        self._taking = threading.Lock()
        self._taken: set[str] = set()

    def add_thread(self, name: str, waiting: Callable[[], Select[tuple[Row]]], work: Callable[[Row], None]) -> None:
        """Add a thread, before the start.

        Args:
            name: The thread's name.
            waiting: Returns the query for the rows that wait for it, most urgent first.
            work: Processes one of them. If the row still matches the query afterwards, it is processed again.
        """
        self._threads.append(threading.Thread(target=self._work_off, args=(waiting, work), name=name))

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Poll for work now. Never blocks on the database."""
        with self._changed:
            self._n_changes += 1
            self._changed.notify_all()

    def is_alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """End all threads; a second call does nothing.

        It waits as long as they take: all work checks `stopping`, and a thread that outlived the call would find the
        database closed.
        """
        self.stopping.set()
        self.wake()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def cancellation_check(self, row: Row) -> Callable[[], bool]:
        """Return a check, cheap to call often, of whether long work on a row is no longer wanted.

        It returns true once the queue stops, or the row's status differs from that of `row`.
        """
        looked_at = time.monotonic()
        status = select(self._table.status).where(self._table.id == row.id)

        def is_cancelled() -> bool:
            nonlocal looked_at
            if time.monotonic() - looked_at < self._status_check_seconds:
                return self.stopping.is_set()
            looked_at = time.monotonic()
            with self._database.read() as session:
                return self.stopping.is_set() or session.scalar(status) != row.status

        return is_cancelled

    def _work_off(self, waiting: Callable[[], Select[tuple[Row]]], work: Callable[[Row], None]) -> None:
        trouble: str | None = None
        while not self.stopping.is_set():
            n_changes = self._n_changes
            try:
                row = self._take(waiting)
                if row is not None:
                    self._work_on(row, work)
            except Exception as error:  # noqa: BLE001  # whatever it is, the thread must live on
                trouble = self._log_once(error, trouble)
                self.stopping.wait(self._pause_after_error_seconds)
                continue
            trouble = None
            if row is None:
                self._wait_for_change(n_changes)

    def _take(self, waiting: Callable[[], Select[tuple[Row]]]) -> Row | None:
        with self._taking:
            query = waiting().where(self._table.id.not_in(self._taken)).limit(1)
            with self._database.read() as session:
                row = session.scalar(query)
            if row is not None:
                self._taken.add(row.id)
            return row

    def _work_on(self, row: Row, work: Callable[[Row], None]) -> None:
        try:
            work(row)
        except Exception as error:  # noqa: BLE001  # the others must be worked on all the same
            self._give_up(row, error)
        finally:
            with self._taking:
                self._taken.discard(row.id)
            self.wake()

    def _wait_for_change(self, n_changes: int) -> None:
        # The query may have missed what changed after `n_changes` was read.
        with self._changed:
            self._changed.wait_for(
                lambda: self._n_changes != n_changes or self.stopping.is_set(), timeout=self._poll_seconds
            )

    def _log_once(self, error: Exception, logged: str | None) -> str:
        # The statement and its parameters, of which some are the time, make each message of SQLAlchemy another one.
        trouble = str(error.orig if isinstance(error, DBAPIError) else error)
        if trouble != logged:
            _log.error("%s are delayed: %s", self._name, trouble, exc_info=None if is_retryable(error) else error)
        return trouble


def is_retryable(error: Exception) -> bool:
    """Whether the same work may succeed later: the database is unreachable, or the disk is full."""
    return isinstance(error, DatabaseUnavailableError) or is_out_of_space(error)
