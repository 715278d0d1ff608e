"""The version of a database's tables, and their migration to this Retune's version.

A version is the number of a migration, and the name of its file begins with it. SQLite keeps it in `user_version` too,
which every version of Retune reads.
"""

import logging
import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, Engine, MetaData, String, insert, inspect, select, text
from sqlalchemy import Table as CoreTable

from retune.errors import ServerError
from retune.server.storage.content_store import sync_to_disk
from retune.server.storage.engines import SQLITE
from retune.server.storage.tables import Table

_log = logging.getLogger(__name__)
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_versions = CoreTable("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


def newest_version() -> int:
    """The version of this Retune's tables."""
    return max(int(path.name[:4]) for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def bring_up_to_date(engine: Engine) -> None:
    """Create the tables, or migrate them from an older version, in one transaction.

    A SQLite file is copied first, to `server.version-1.sqlite` next to it.

    Raises:
        ServerError: A newer Retune wrote the database, or it holds another program's tables.
    """
    newest = newest_version()
    with engine.connect() as connection:
        version = _version(connection)
        _refuse_newer(connection, version, newest)
    if version == newest:
        return
    if version and engine.dialect.name == SQLITE:
        copy = _keep_copy(Path(str(engine.url.database)), version)
        _log.info("Migrating the database from version %d to %d; a copy of the old one is %s", version, newest, copy)
    with engine.begin() as connection:
        if version == 0:
            _create(connection, newest)
        else:
            _migrate(connection, version)
        if engine.dialect.name == SQLITE:
            connection.execute(text(f"PRAGMA user_version={newest}"))


def require_current(connection: Connection) -> None:
    """Refuse a database that is not of this Retune's version.

    Raises:
        ServerError: It is of another one.
    """
    version, newest = _version(connection), newest_version()
    _refuse_newer(connection, version, newest)
    if version < newest:
        raise ServerError(
            f"{_name(connection)} has schema version {version}; this Retune needs {newest}.",
            hint="Start the server itself first: it brings the database up to date.",
        )


def _create(connection: Connection, newest: int) -> None:
    present = set(inspect(connection).get_table_names()) & set(Table.metadata.tables)
    if present:
        raise ServerError(
            f"{_name(connection)} already holds tables of another program: {', '.join(sorted(present))}.",
            hint="Name a database of the server's own.",
        )
    Table.metadata.create_all(connection)
    _versions.create(connection)
    connection.execute(insert(_versions).values(version_num=f"{newest:04}"))


def _migrate(connection: Connection, version: int) -> None:
    if not inspect(connection).has_table(_versions.name):
        # The first version wrote its number to `user_version` alone.
        _versions.create(connection)
        connection.execute(insert(_versions).values(version_num=f"{version:04}"))
    # Imported here: it takes a good part of a server's start, and most starts have nothing to migrate.
    from retune.server.storage.migrations import upgrade  # noqa: PLC0415

    upgrade(connection)


def _version(connection: Connection) -> int:
    if connection.dialect.name == SQLITE:
        return int(connection.execute(text("PRAGMA user_version")).scalar_one())
    if not inspect(connection).has_table(_versions.name):
        return 0
    version = connection.scalar(select(_versions.c.version_num))
    if version is None or not version.isdecimal():
        raise ServerError(
            f"{_name(connection)} holds another program's tables.", hint="Name a database of the server's own."
        )
    return int(version)


def _refuse_newer(connection: Connection, version: int, newest: int) -> None:
    if version > newest:
        raise ServerError(
            f"{_name(connection)} has schema version {version}; this Retune knows up to {newest}.",
            hint="Use the newer Retune that wrote it, or another data directory.",
        )


def _name(connection: Connection) -> str:
    url = connection.engine.url
    is_file = connection.dialect.name == SQLITE
    return f"The server's database {url.database if is_file else url.set(query={}).render_as_string()}"


def _keep_copy(path: Path, version: int) -> Path:
    """Copy a SQLite file, with what its write-ahead log holds; the copy is there whole or not at all."""
    copy = path.with_name(f"{path.stem}.version-{version}{path.suffix}")
    unfinished = copy.with_name(f"{copy.name}.tmp")
    unfinished.unlink(missing_ok=True)
    source, target = sqlite3.connect(path), sqlite3.connect(unfinished)
    try:
        source.backup(target)
    except sqlite3.Error as error:
        unfinished.unlink(missing_ok=True)
        raise ServerError(
            f"Can't copy the server's database {path} before its migration: {error}.",
            hint="It is unchanged. Make room on its disk for a copy of it.",
        ) from error
    finally:
        target.close()
        source.close()
    sync_to_disk(unfinished)
    unfinished.replace(copy)
    sync_to_disk(copy.parent)
    return copy
