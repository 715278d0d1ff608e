"""The database: SQLite or PostgreSQL, one writer at a time, every commit on disk before it is acknowledged."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from retune.errors import ServerError
from retune.server.errors import ApiError, is_out_of_space
from retune.server.storage import schema
from retune.server.storage.content_store import Draft
from retune.server.storage.engines import SQLITE, create_database_engine, reading, writing
from retune.server.storage.server_lock import ServerLock

Result = TypeVar("Result")

_log = logging.getLogger(__name__)
# What SQLite says where the process has no file descriptors left, or its disk fails for a moment.
_FILE_TROUBLE = ("unable to open database file", "disk I/O error")
_LOOK_UP_THREADS = 4
_WRITER_TIMEOUT_SECONDS = 20


class DatabaseUnavailableError(ApiError):
    """The database is unreachable or too busy: a 503 for requests, and a reason for background work to retry later."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            503,
            f"The server's database does not answer ({reason}). Try again in a moment.",
            type="server_error",
            code="database_unavailable",
            headers={"retry-after": "1"},
            retryable=True,
        )


class Database:
    """Sessions on one database. Rows stay readable after their session has ended.

    Args:
        url: SQLite or PostgreSQL, as `database_url` gives it.
        owner: Whether this is the server's main process, which locks the database and migrates its tables. Workers
            are not owners.

    Raises:
        DatabaseInUseError: Another server has the PostgreSQL database.
        ServerError: The database can't be reached or written, is damaged, or was written by a newer version.
    """

    def __init__(self, url: URL, *, owner: bool = True) -> None:
        self._engine = create_database_engine(url)
        self._reading = reading(self._engine)
        self._writing = writing(self._engine)
        self._one_writer = threading.Lock()
        self._looking_up = CapacityLimiter(_LOOK_UP_THREADS)
        self._server_lock: ServerLock | None = None
        try:
            self._prepare(owner=owner)
        except DBAPIError as error:
            self.close()
            raise _explain(url, error) from error
        except BaseException:
            self.close()
            raise

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads, on one consistent snapshot.

        Raises:
            DatabaseUnavailableError: The database is unreachable or too busy.
        """
        with _translate_unavailable(), Session(self._reading, expire_on_commit=False) as session:
            yield session

    async def look_up(self, query: Callable[[Session], Result]) -> Result:
        """Run a query that finds its rows by their ids, and take its result.

        From a file on this machine that takes a tenth of a millisecond, and handing it to a thread several times as
        long: so it runs in the event loop. A database elsewhere is asked by one of a few threads that do nothing else:
        requests that wait to write do not block these.

        Raises:
            DatabaseUnavailableError: The database is unreachable or too busy.
        """
        if self._engine.dialect.name == SQLITE:
            return self._run(query)
        return await to_thread.run_sync(self._run, query, limiter=self._looking_up)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed if the block succeeds, and rolled back if it raises.

        Raises:
            DatabaseUnavailableError: The database is unreachable or too busy. Nothing was changed, unless
                the connection was lost during the commit.
        """
        with (
            self._only_writer_here(),
            _translate_unavailable(),
            Session(self._writing, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def close(self) -> None:
        """Release the database; a second call does nothing."""
        if self._server_lock:
            self._server_lock.release()
            self._server_lock = None
        self._engine.dispose()

    def _run(self, query: Callable[[Session], Result]) -> Result:
        with self.read() as session:
            return query(session)

    @contextmanager
    def _only_writer_here(self) -> Iterator[None]:
        # The databases let processes take turns by polling; threads of one process can simply queue.
        if not self._one_writer.acquire(timeout=_WRITER_TIMEOUT_SECONDS):
            raise DatabaseUnavailableError("other writers take too long")
        try:
            yield
        finally:
            self._one_writer.release()

    def _prepare(self, *, owner: bool) -> None:
        if not owner:
            with self._reading.connect() as connection:
                schema.require_current(connection)
            return
        if self._engine.dialect.name != SQLITE:
            self._server_lock = ServerLock(self._engine)
        else:
            with self._engine.connect() as connection:
                _check_health(connection)
        schema.bring_up_to_date(self._writing)


@contextmanager
def _translate_unavailable() -> Iterator[None]:
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailableError("all connections to it are in use") from error
    except DBAPIError as error:
        if not _is_unavailable(error):
            raise
        if _is_file_trouble(error):
            _log.error(
                "The database can't be used: %s", _first_line(error)
            )  # the request gets a 503, without a traceback
        raise DatabaseUnavailableError(_first_line(error)) from error


def _is_unavailable(error: DBAPIError) -> bool:
    if is_out_of_space(error):
        return False
    if type(error.orig).__module__.startswith("sqlite3"):
        return "database is locked" in str(error.orig) or _is_file_trouble(error)
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def _is_file_trouble(error: DBAPIError) -> bool:
    return any(words in str(error.orig) for words in _FILE_TROUBLE)


def _check_health(connection: Connection) -> None:
    finding = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    if finding != "ok":
        path = Path(str(connection.engine.url.database))
        raise ServerError(f"The server's database {path} is damaged: {finding}.", hint=_damage_hint(path))


def _explain(url: URL, error: DBAPIError) -> ServerError:
    if url.get_backend_name() != SQLITE:
        where = url.set(query={}).render_as_string(hide_password=True)
        hint = "Check that it runs, and the URL's address, user and password."
        return ServerError(f"Can't use the server's database {where}: {_first_line(error)}.", hint=hint)
    path = Path(str(url.database))
    if is_out_of_space(error):
        return ServerError(f"Can't open the server's database {path}: the disk is full.", hint="Make room on it.")
    if isinstance(error, OperationalError):
        return ServerError(
            f"Can't open the server's database {path}: {error.orig}.",
            hint="Check that the data directory may be written, or name another with --data-dir.",
        )
    return ServerError(f"The server's database {path} is damaged: {error.orig}.", hint=_damage_hint(path))


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0].rstrip(".")


def _damage_hint(path: Path) -> str:
    return f"Restore {path.name} from a backup, or start on another data directory with --data-dir."


@contextmanager
def recording(database: Database, draft: Draft) -> Iterator[Session]:
    """Store a draft's bytes, and yield the writing session for the rows that refer to them.

    A block that finds its rows there already discards the draft by itself. Where the block or the commit fails, the
    bytes are dropped.

    Raises:
        OSError: The disk is full or failing.
        DatabaseUnavailableError: The database is unreachable or too busy.
    """
    try:
        draft.keep()
        with database.write() as session:
            yield session
    except DatabaseUnavailableError:
        # It may have gone away just after the commit. Retention checks whether the rows exist.
        draft.abandon()
        raise
    except BaseException:
        draft.discard()
        raise
    draft.settle()
