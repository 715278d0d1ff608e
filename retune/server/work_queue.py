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

# Requests may be answered by other processes, whose news come through the database alone.
LOOK_AGAIN_SECONDS: Final = 0.5


class BackgroundWork(Protocol):
    """Works off what is in the database, in threads of its own. All are called by any thread.

    The database is the queue: what an earlier server left unfinished is taken up again, and `LOOK_AGAIN_SECONDS` after
    a change it is seen even if nobody called `wake`.
    """

    def start(self) -> None:
        """Begin."""
        ...

    def wake(self) -> None:
        """Look at the database now: something may have been added, or cancelled."""
        ...

    def is_alive(self) -> bool:
        """Whether all threads run that were started: none ends by itself, unless by a fault of the server."""
        ...

    def stop(self) -> None:
        """End all threads and processes, leaving unfinished work for the next server; a second time does nothing."""
        ...


Row = TypeVar("Row", JobRow, BatchRow)

_log = logging.getLogger(__name__)
_PAUSE_AFTER_TROUBLE_SECONDS = 2.0
_LOOK_AT_ROW_SECONDS = 0.25


class WorkQueue(Generic[Row]):
    """Hands the rows that wait to threads. The queue is the database itself; this knows who is at which row.

    Trouble that a thread meets is logged once; the thread pauses, and goes on when it has passed.

    Args:
        database: Where the rows are.
        table: Their table.
        name: What they are, for the log: `Jobs`.
        give_up: Ends a row whose work raised an error. It may raise itself: then the row is worked on again later.

    Attributes:
        stopping: Set once the queue is told to stop. Work that takes long looks at it.
    """

    def __init__(
        self, database: Database, table: type[Row], name: str, give_up: Callable[[Row, Exception], None]
    ) -> None:
        self.stopping = threading.Event()
        self._database = database
        self._table: type[Row] = table
        self._name = name
        self._give_up: Callable[[Row, Exception], None] = give_up
        self._threads: list[threading.Thread] = []
        # Requests call `wake`: nobody asks the database while holding what guards the news.
        self._changed = threading.Condition()
        self._n_changes = 0
        # Held from looking at a row to taking it: so what is seen of a row is seen after its last work was done.
        self._taking = threading.Lock()
        self._taken: set[str] = set()

    def add_thread(self, name: str, waiting: Callable[[], Select[tuple[Row]]], work: Callable[[Row], None]) -> None:
        """Add a thread, before the start.

        Args:
            name: The thread's name.
            waiting: Gives the query for the rows that wait for it, most urgent first.
            work: What it does with one of them. Afterwards the row waits no more, or is worked on again.
        """
        self._threads.append(threading.Thread(target=self._work_off, args=(waiting, work), name=name))

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look for work now. Never waits for the database."""
        with self._changed:
            self._n_changes += 1
            self._changed.notify_all()

    def is_alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """End all threads; a second time does nothing.

        It waits as long as they take: all work looks at `stopping`, and what runs on behind it (a line that is parsed,
        a request that is answered) would find the database closed.
        """
        self.stopping.set()
        self.wake()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def call_off(self, row: Row) -> Callable[[], bool]:
        """Give what tells long work on a row whether it is of no use any more. It may be asked all the time.

        That is so once the queue stops, or the row's status is another than `row` has it.
        """
        looked_at = time.monotonic()
        status = select(self._table.status).where(self._table.id == row.id)

        def is_called_off() -> bool:
            nonlocal looked_at
            if time.monotonic() - looked_at < _LOOK_AT_ROW_SECONDS:
                return self.stopping.is_set()
            looked_at = time.monotonic()
            with self._database.read() as session:
                return self.stopping.is_set() or session.scalar(status) != row.status

        return is_called_off

    def _work_off(self, waiting: Callable[[], Select[tuple[Row]]], work: Callable[[Row], None]) -> None:
        trouble: str | None = None
        while not self.stopping.is_set():
            n_changes = self._n_changes
            try:
                row = self._take(waiting)
                if row is not None:
                    self._work_on(row, work)
            except Exception as error:  # noqa: BLE001  # whatever it is, the thread must live on
                trouble = self._tell(error, trouble)
                self.stopping.wait(_PAUSE_AFTER_TROUBLE_SECONDS)
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
        # What changed after `n_changes` was read may have been missed by the look at the database.
        with self._changed:
            self._changed.wait_for(
                lambda: self._n_changes != n_changes or self.stopping.is_set(), timeout=LOOK_AGAIN_SECONDS
            )

    def _tell(self, error: Exception, told: str | None) -> str:
        # The statement and its parameters, of which some are the time, make each message of SQLAlchemy another one.
        trouble = str(error.orig if isinstance(error, DBAPIError) else error)
        if trouble != told:
            _log.error("%s wait: %s", self._name, trouble, exc_info=None if may_pass(error) else error)
        return trouble


def may_pass(error: Exception) -> bool:
    """Tell whether the same work may go well a little later: the database is away, or the disk is full."""
    return isinstance(error, DatabaseUnavailableError) or is_out_of_space(error)
