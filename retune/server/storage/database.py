"""The database: SQLite in WAL mode, one writer at a time, every commit on disk before it is acknowledged."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import Session

from retune.errors import ServerError
from retune.server.api.errors import is_out_of_space
from retune.server.storage.tables import Table

_SCHEMA_VERSION = 1
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=10000",
)


class Database:
    """Sessions on one SQLite file. Rows stay readable after their session has ended.

    Raises:
        ServerError: The file is no database, is damaged, was written by a newer version, or can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._engine = _engine(path)
        self._writing = threading.Lock()
        try:
            self._prepare(path)
        except DatabaseError as error:
            self._engine.dispose()
            raise _explain(path, error) from error
        except ServerError:
            self._engine.dispose()
            raise

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads, on one consistent snapshot."""
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed when the block ends well, and dropped when it raises."""
        # One writer at a time: a second one inside a read snapshot would get SQLITE_BUSY at once, with no waiting.
        with self._writing, Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Give the file back."""
        self._engine.dispose()

    def _prepare(self, path: Path) -> None:
        with self._engine.begin() as connection:
            _check_health(connection, path)
            _check_version(connection, path)
            Table.metadata.create_all(connection)


def _engine(path: Path) -> Engine:
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, pool_size=8, max_overflow=64)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        # The driver would hold BEGIN back until the first change, and a read would see no consistent snapshot.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _check_health(connection: Connection, path: Path) -> None:
    finding = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    if finding != "ok":
        raise ServerError(f"The server's database {path} is damaged: {finding}.", hint=_damage_hint(path))


def _check_version(connection: Connection, path: Path) -> None:
    version = connection.execute(text("PRAGMA user_version")).scalar_one()
    if version > _SCHEMA_VERSION:
        raise ServerError(
            f"The server's database {path} has schema version {version}; this Retune knows up to {_SCHEMA_VERSION}.",
            hint="Use the newer Retune that wrote it, or another data directory.",
        )
    connection.execute(text(f"PRAGMA user_version={_SCHEMA_VERSION}"))


def _explain(path: Path, error: DatabaseError) -> ServerError:
    reason = str(error.orig)
    if is_out_of_space(error):
        return ServerError(f"Can't open the server's database {path}: the disk is full.", hint="Make room on it.")
    if isinstance(error, OperationalError):
        return ServerError(
            f"Can't open the server's database {path}: {reason}.",
            hint="Check that the data directory may be written, or name another with --data-dir.",
        )
    return ServerError(f"The server's database {path} is damaged: {reason}.", hint=_damage_hint(path))


def _damage_hint(path: Path) -> str:
    return f"Restore {path.name} from a backup, or start on another data directory with --data-dir."
