"""The lock of one server on a PostgreSQL database: an advisory lock of a session, for as long as the server lives."""

import logging
import os
import signal
import threading
import time
from contextlib import suppress

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from retune.server.storage.data_directory import DataDirectoryInUseError

_log = logging.getLogger(__name__)
# "retunese" in ASCII; the writers' lock has another key.
_SERVER_LOCK = 0x726574756E657365
_CHECK_SECONDS = 2.0


class DatabaseInUseError(DataDirectoryInUseError):
    """Another server, on another data directory, has the database."""


class ServerLock:
    """Held from construction to `release`.

    The database drops it with its session. A thread monitors the session: after a restart of the database the lock
    is taken again; if another server was quicker, this one stops, as if by SIGTERM.

    Args:
        engine: Of the database.
        timeout_seconds: How long to wait for the lock: the session of a server that was killed a moment ago may still
            be there.

    Raises:
        DatabaseInUseError: Another server has the database.
    """

    def __init__(self, engine: Engine, *, timeout_seconds: float = 5.0) -> None:
        self._timeout_seconds = timeout_seconds
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._released = threading.Event()
        self._connection: Connection | None = self._take()
        self._keeper = threading.Thread(target=self._keep, name="database-lock", daemon=True)
        self._keeper.start()

    def release(self) -> None:
        """Release the database; a second call does nothing."""
        self._released.set()
        self._keeper.join()
        self._drop()

    def _take(self) -> Connection:
        connection = self._engine.connect()
        try:
            _take(connection, self._timeout_seconds)
        except BaseException:
            connection.close()
            raise
        return connection

    def _keep(self) -> None:
        while not self._released.wait(_CHECK_SECONDS):
            try:
                if self._connection is None:
                    self._connection = self._take()
                    _log.info("The database is back")
                else:
                    self._connection.execute(text("SELECT 1"))
            except SQLAlchemyError as error:
                if self._connection is not None:
                    reason = error.orig if isinstance(error, DBAPIError) else error
                    _log.warning("The database does not answer: %s", str(reason).strip())
                self._drop()
            except DatabaseInUseError as error:
                _log.critical("%s This server is stopping.", error)
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _drop(self) -> None:
        if self._connection is not None:
            # An unlocking or closing that fails has no session left to end.
            with suppress(SQLAlchemyError):
                self._connection.invalidate()
                self._connection.close()
            self._connection = None


def _take(connection: Connection, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _SERVER_LOCK}):
        if time.monotonic() > deadline:
            where = connection.engine.url.set(query={}).render_as_string(hide_password=True)
            raise DatabaseInUseError(
                f"The database {where} is already used by another server.",
                hint="Stop that one, or name another database.",
            )
        time.sleep(0.1)
