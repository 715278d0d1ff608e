"""The address of a database: which one it is, and how it is opened so that nothing in it changes."""

from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from retune.data.sources.files.found_files import names_near
from retune.errors import SourceError
from retune.redaction.addresses import Address, expand, scheme_of

_OWN_DIALECTS = frozenset({"postgresql", "postgres", "sqlite", "mysql", "mariadb", "mssql", "oracle"})
_OTHER_DIALECTS = frozenset(
    {"awsathena", "bigquery", "clickhouse", "cockroachdb", "databricks", "db2", "duckdb", "redshift", "snowflake"}
    | {"teradatasql", "trino", "vertica"}
)
"""Dialects that people have in packages of their own; named here so that a missing package is called by its name."""

_EXPECTED = "postgresql://USER:${PASSWORD}@HOST:PORT/DATABASE or sqlite:///PATH"


def is_database(source: str) -> bool:
    """Whether a source is the address of a database, and not of files.

    Args:
        source: As the user wrote it; `${NAME}` may stand for the whole address.
    """
    try:
        scheme = Address.of(source).scheme if source.startswith("${") else scheme_of(source)
    except SourceError:
        return False
    dialect, _, driver = scheme.partition("+")
    known = _OWN_DIALECTS | _OTHER_DIALECTS
    return bool(scheme) and (bool(driver) or dialect in known or _is_installed(dialect))


def open_engine(address: Address) -> Engine:
    """Make what connects to a database. It connects to nothing yet.

    Args:
        address: The database's address. A variable in the place of a user, password, host or database holds it as it
            is, with nothing escaped.

    Raises:
        SourceError: It is not such an address, the driver is missing, or a SQLite file isn't there.
    """
    url = _with_driver(_parsed(address))
    if url.get_backend_name() == "sqlite":
        url = _read_only_sqlite(url, address.name)
    try:
        engine = create_engine(url, poolclass=NullPool)
    except NoSuchModuleError:
        raise SourceError(
            f"{address.name}: SQLAlchemy knows no database {url.drivername}.",
            hint=f"Install its package, if there is one: they are called sqlalchemy-{url.get_backend_name()}, mostly.",
        ) from None
    except ImportError as error:
        raise SourceError(
            f"{address.name}: the database's driver {error.name} is missing.", hint=_driver(url)
        ) from None
    except Exception as error:  # noqa: BLE001  (dialects check the rest of the address, each in its own way)
        raise SourceError(f"{address.name} can't be opened: {address.reason(error)}.") from None
    if engine.dialect.is_async:
        raise SourceError(
            f"{address.name} names a driver for asynchronous programs.",
            hint=f"Leave it out: {url.get_backend_name()}://…",
        )
    return engine


def _parsed(address: Address) -> URL:
    try:
        # Looked up after parsing, so that a password may hold any character.
        if address.written.startswith("${"):
            return make_url(address.expanded)
        url = make_url(address.written)
    except (ArgumentError, ValueError):
        raise SourceError(f"{address.name} can't be read as a database's address: expected {_EXPECTED}.") from None
    parts = {name: expand(getattr(url, name) or "") or None for name in ("username", "password", "host", "database")}
    query = {
        name: expand(value) if isinstance(value, str) else tuple(map(expand, value))
        for name, value in url.query.items()
    }
    return url.set(**parts, query=query)  # type: ignore[arg-type]  # each by its own name


def _with_driver(url: URL) -> URL:
    is_plain = url.drivername in ("postgresql", "postgres")
    return url.set(drivername="postgresql+psycopg") if is_plain else url


def _read_only_sqlite(url: URL, name: str) -> URL:
    """Open a file that is there, to read it: SQLite would make a new one otherwise."""
    if not url.database or url.database == ":memory:":
        raise SourceError(f"{name} names no file.", hint="Write sqlite:///PATH; sqlite:////PATH for one from the root.")
    if url.database.startswith("file:"):
        return url.update_query_dict({"mode": "ro", "uri": "true"})
    path = Path(url.database).expanduser().absolute()
    if not path.exists():
        there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = names_near(path.name, there) if there else f"There is no folder {path.parent} either."
        raise SourceError(f"There is no file {url.database}.", hint=hint)
    if not path.is_file():
        raise SourceError(f"{url.database} is not a file; expected a SQLite database.")
    return url.set(database=f"file:{quote(str(path))}").update_query_dict({"mode": "ro", "uri": "true"})


def _driver(url: URL) -> str:
    if url.get_backend_name() == "postgresql":
        return 'Install it: pip install "retune[postgresql]".'
    return "Install it with pip; SQLAlchemy's documentation lists the drivers of each database."


def _is_installed(dialect: str) -> bool:
    names = {entry.name.partition(".")[0] for entry in entry_points(group="sqlalchemy.dialects")}
    return dialect in names
