"""`retune server keys`: make, list and revoke the keys of a server, while it runs or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from retune.cli.terminal import as_local_time, print_json, print_line, print_quietly, print_table
from retune.errors import ServerError
from retune.extras import require
from retune.local.connection import server_directory
from retune.private_files import keep_files_private
from retune.server.process.command import DatabaseUrl, DataDirectory, settings_from
from retune.server.settings import DATABASE_URL_VARIABLE

if TYPE_CHECKING:
    from retune.server.storage.data_directory import DataDirectory as Directory
    from retune.server.storage.database import Database

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke a server's API keys, whether it runs or not.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def require_server() -> None:
    """Refuse where the server is not installed."""
    require("`retune server keys`", "server")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, as shown in the list.")],
    data_directory: DataDirectory = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Create a key and print it. It can't be shown again: the server stores only its hash.

    Once a server has a key, every request needs one.
    """
    from retune.server import keys  # noqa: PLC0415 - the database's libraries are slow to import

    with _database(data_directory, database_url, may_be_new=True) as database, database.write() as session:
        row, key = keys.add_key(session, name)
    print_line(key)
    print_quietly(f"Key {row.id}. Store it now: it is not shown again. A running server accepts it within two seconds.")


@app.command("list")
def list_keys(data_directory: DataDirectory = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List all keys, revoked ones included, newest first."""
    from retune.server import keys  # noqa: PLC0415 - the database's libraries are slow to import

    with _database(data_directory, database_url) as database, database.read() as session:
        rows = keys.list_keys(session)
    if as_json:
        fields = ("id", "name", "hint", "created_at", "revoked_at")
        print_json([{field: getattr(row, field) for field in fields} for row in rows])
        return
    table = [
        [
            *(row.id, row.name, row.hint, as_local_time(row.created_at)),
            as_local_time(row.revoked_at) if row.revoked_at else "",
        ]
        for row in rows
    ]
    print_table(["id", "name", "key", "created", "revoked"], table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id; `retune server keys list` shows it.")],
    data_directory: DataDirectory = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Revoke a key. A running server refuses it within two seconds."""
    from retune.server import keys  # noqa: PLC0415 - the database's libraries are slow to import

    with _database(data_directory, database_url) as database, database.write() as session:
        row = keys.revoke_key(session, key_id)
    print_line(f"Revoked {row.id} ({row.name}).")


@contextmanager
def _database(
    data_directory: DataDirectory, database_url: DatabaseUrl, *, may_be_new: bool = False
) -> "Iterator[Database]":
    """Open a server's database, next to the running server, or else with a lock that keeps a server from starting."""
    from retune.server.storage import data_directory as directories  # noqa: PLC0415 - they are slow to import
    from retune.server.storage.database import Database  # noqa: PLC0415 - likewise
    from retune.server.storage.engines import database_url as url_of  # noqa: PLC0415 - likewise

    settings = settings_from({"data_directory": server_directory(data_directory), "database_url": database_url})
    directory = directories.DataDirectory(settings.data_directory)
    if settings.database_url is None and not directory.database.exists():
        _require_new(directory, may_be_new=may_be_new)
    url = url_of(settings.database_url, directory.database)
    keep_files_private(directory.path)
    try:
        directory.lock()
        database = Database(url, owner=True)
    except directories.DataDirectoryInUseError:
        directory.unlock()
        database = Database(url, owner=False)
    try:
        yield database
    finally:
        database.close()
        directory.unlock()


def _require_new(directory: "Directory", *, may_be_new: bool) -> None:
    """Refuse to create a database if the server uses PostgreSQL, or if no server has used the directory."""
    if directory.is_used():
        raise ServerError(
            f"The server of {directory.path} has no database there; it is on PostgreSQL.",
            hint=f"Give its URL: set {DATABASE_URL_VARIABLE} (or give --database-url).",
        )
    if not may_be_new:
        raise ServerError(
            f"No server has used {directory.path} yet, and it has no keys.",
            hint="Name its data directory with --data-dir; if it is on PostgreSQL, set "
            f"{DATABASE_URL_VARIABLE} (or give --database-url).",
        )
