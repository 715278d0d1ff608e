"""Which database a server keeps its objects in: a PostgreSQL one by URL, or a SQLite file of its data directory."""

from importlib.util import find_spec
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from retune.errors import ServerError

_POSTGRESQL = "postgresql+psycopg"
_POSTGRESQL_NAMES = ("postgresql", "postgres", _POSTGRESQL)
_EXPECTED = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


def sqlite_url(path: Path) -> URL:
    """The URL of a SQLite file."""
    return URL.create("sqlite", database=str(path))


def database_url(chosen: SecretStr | None, sqlite_path: Path) -> URL:
    """The URL that an operator chose, or that of the SQLite file where none was chosen.

    Raises:
        ServerError: It is no URL of a PostgreSQL database, or the driver for that is not installed. The message never
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
