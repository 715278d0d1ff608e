"""The database of a server: a PostgreSQL one by URL, or a SQLite file of its data directory, and how to connect to it.

Connections are durable, wait for a bounded time, and have one writer at a time.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError

from retune.errors import ServerError

_POSTGRESQL = "postgresql+psycopg"
_POSTGRESQL_NAMES = ("postgresql", "postgres", _POSTGRESQL)
_EXPECTED = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
SQLITE: Final = "sqlite"
# Marks a connection that writes; see `writing`.
_WRITES: Final = "retune_writes"
_BUSY_TIMEOUT_SECONDS = 15
_STATEMENT_TIMEOUT_SECONDS = 30
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={_BUSY_TIMEOUT_SECONDS * 1000}",
)
# A server's connections end on the database's side too when its machine is gone, and give their locks back.
_POSTGRESQL_OPTIONS = {
    "statement_timeout": f"{_STATEMENT_TIMEOUT_SECONDS}s",
    "lock_timeout": f"{_BUSY_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_POSTGRESQL_CONNECT = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "application_name": "retune",
}
# "retune" in ASCII, so that no other program's advisory lock is met by chance.
_WRITER_LOCK = 0x726574756E65


def sqlite_url(path: Path) -> URL:
    """The URL of a SQLite file."""
    return URL.create("sqlite", database=str(path))


def database_url(chosen: SecretStr | None, sqlite_path: Path) -> URL:
    """The URL that an operator chose, or that of the SQLite file where none was chosen.

    Raises:
        ServerError: It is not a PostgreSQL URL, or the driver for that is not installed. The message never
            repeats the URL, which may hold a password.
    """
    return _postgresql_url(chosen.get_secret_value()) if chosen else sqlite_url(sqlite_path)


def _postgresql_url(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ServerError(
            f"The server's database URL can't be read: expected {_EXPECTED}.",
            hint="Escape special characters of the password (a / is %2F, an @ is %40).",
        ) from None
    if url.drivername not in _POSTGRESQL_NAMES:
        raise ServerError(
            f"The server's database URL must be {_EXPECTED}, but it begins with {url.drivername}://.",
            hint="For SQLite give no URL: the file is kept in the data directory.",
        )
    if find_spec("psycopg") is None:
        raise ServerError(
            "A PostgreSQL database needs the driver psycopg, which is not installed.",
            hint="Install it with: pip install 'retune[postgresql]'.",
        )
    return url.set(drivername=_POSTGRESQL)


def create_database_engine(url: URL) -> Engine:
    """An engine for a SQLite file or a PostgreSQL database; nothing is opened yet.

    Raises:
        ServerError: PostgreSQL's driver can't be loaded.
    """
    return _sqlite_engine(url) if url.get_backend_name() == SQLITE else _postgresql_engine(url)


def reading(engine: Engine) -> Engine:
    """The engine for transactions that read one consistent snapshot."""
    if engine.dialect.name == SQLITE:
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def writing(engine: Engine) -> Engine:
    """The engine for transactions that write, one at a time among all processes.

    Rows are numbered as they are written, and cursors go by these numbers: were two transactions to commit in another
    order than they took their numbers in, readers between the two would miss rows permanently.
    """
    return engine.execution_options(**{_WRITES: True})


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, pool_size=8, max_overflow=64)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        # The driver would hold BEGIN back until the first change, and a read would see no consistent snapshot.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A plain BEGIN that turns into a write later fails at once, with no waiting, if another wrote meanwhile.
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql_engine(url: URL) -> Engine:
    settings = " ".join(f"-c {name}={value}" for name, value in _POSTGRESQL_OPTIONS.items())
    # What an operator put into the URL comes last, and wins.
    options = f"{settings} {url.query.get('options', '')}".strip()
    defaults = {name: value for name, value in _POSTGRESQL_CONNECT.items() if name not in url.query}
    try:
        engine = create_engine(
            url.update_query_dict({"options": options}),
            connect_args=defaults,
            pool_size=8,
            max_overflow=8,
            pool_timeout=_BUSY_TIMEOUT_SECONDS,
            # A connection that the database has ended is replaced before it is used.
            pool_pre_ping=True,
        )
    except ImportError as error:
        raise ServerError(
            f"PostgreSQL's driver can't be loaded: {error}.", hint="Install it with: pip install 'retune[postgresql]'."
        ) from error

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES):
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER_LOCK})

    return engine
