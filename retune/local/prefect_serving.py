"""Prefect's server behind the guard: what `retune run`, `retune up`, `retune prefect start` and Docker start.

python -m retune.local.prefect_serving --home DIRECTORY [--host ADDRESS] [--port PORT] [--until-unused]

| variable | what it says | default |
|---|---|---|
| PREFECT_SERVER_API_AUTH_STRING | Prefect's password, as name:password | generated, and kept in `DIRECTORY/password` |
| PREFECT_UI_URL | where people open Prefect; links lead there | the address that it listens on |
| RETUNE_PREFECT_ALLOWED_HOSTS | more host names under which it answers, separated by commas | none |
"""

import argparse
import gc
import hashlib
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from retune.errors import RetuneError, ServerError
from retune.files import write_bytes
from retune.local.prefect_access import (
    PASSWORD_VARIABLE,
    BrowserSessions,
    OneTimeLinks,
    prefect_password,
    proof,
    session_key,
)
from retune.local.prefect_guard import GuardSettings, PrefectGuard
from retune.local.prefect_login import BrowserLogin
from retune.local.prefect_server import ADDRESS_FILE, ANY_ADDRESS, QUIET, local_address, read_address, server_plan
from retune.private_files import keep_files_private
from retune.processes.shared import stop_when_unused

_BLOCKS_FILE = "blocks"
_DATABASE_VARIABLES = ("PREFECT_SERVER_DATABASE_", "PREFECT_API_DATABASE_")
_MOST_SECONDS_FOR_LOCK = 5


def serve(home: Path, host: str, port: int, when_ready: Callable[[str], None] = lambda _link: None) -> None:
    """Run Prefect's server in this process, until a signal ends it.

    Args:
        home: Prefect's home, where database, password and address are kept.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        when_ready: Called with a link that logs a browser in, once.

    Raises:
        ServerError: It can't listen there.
    """
    port = _free_port(host, port)
    local = local_address(host, port)
    url = (os.environ.get("PREFECT_UI_URL") or local).rstrip("/")
    password = prefect_password(home)
    _configure_prefect(home, port, url, password)
    blocks = _skip_registered_blocks(home)
    _bound_lock_waits()
    names = frozenset({host, *os.environ.get("RETUNE_PREFECT_ALLOWED_HOSTS", "").replace(",", " ").split()})
    login = BrowserLogin(password, OneTimeLinks(), BrowserSessions(session_key(home, password)))
    guard = PrefectGuard(
        _prefect_app(),
        GuardSettings(url, password, names, answers_any_ip=host in ANY_ADDRESS),
        login,
        lambda challenge: proof(home, local, challenge),
    )
    server = _Server(uvicorn.Config(guard, host=host, port=port, log_level="warning"))

    def ready() -> None:
        # Not before it listens: the port may be somebody else's.
        write_bytes(home / ADDRESS_FILE, local.encode())
        write_bytes(home / _BLOCKS_FILE, blocks.encode())
        when_ready(login.new_link(url))

    server.when_ready = ready
    server.when_stopping = lambda: _forget_address(home, local)
    server.run()


def _prefect_app() -> ASGIApp:
    from prefect.server.api.server import create_app  # noqa: PLC0415 - it reads the settings made just now

    return create_app(final=True)


class _Server(uvicorn.Server):
    when_ready: Callable[[], None]
    when_stopping: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets=sockets)
        except SystemExit:
            # Uvicorn has logged the reason.
            raise _cannot_listen(self.config.host, self.config.port) from None
        if self.started:
            self.when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Not after `run`, which ends with the signal that it was sent.
        self.when_stopping()
        await super().shutdown(sockets=sockets)


def _bound_lock_waits() -> None:
    """Let a write wait five seconds for SQLite's lock, and not sixty, as Prefect sets it.

    Seen in one rerun of six: the thread of the server's event loop stands still in the middle of a statement, while a
    connection's thread is in a call of SQLite, until sixty seconds are over. If the request that holds the lock needs
    the loop, nothing else ends that wait. Clients repeat requests that met a lock.
    """
    from sqlalchemy import event  # noqa: PLC0415 - takes a tenth of a second, as what follows
    from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection  # noqa: PLC0415
    from sqlalchemy.pool import Pool  # noqa: PLC0415

    def bound(connection: object, *_: object) -> None:
        if isinstance(connection, AsyncAdapt_aiosqlite_connection):
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {_MOST_SECONDS_FOR_LOCK * 1000}")
            cursor.close()

    event.listen(Pool, "checkout", bound)


def _forget_address(home: Path, address: str) -> None:
    # Another one may have taken its place meanwhile.
    if read_address(home) == address:
        (home / ADDRESS_FILE).unlink(missing_ok=True)


def _block_sources(home: Path) -> str:
    """A digest of all that says which block types a database should have; installing a package changes it."""
    installed = {str(path): path.stat().st_mtime_ns for path in map(Path, sys.path) if path.is_dir()}
    profiles = home / "profiles.toml"
    profile = profiles.read_text(encoding="utf-8") if profiles.exists() else None
    known = [sorted(installed.items()), sorted(_database_variables().items()), profile]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def _skip_registered_blocks(home: Path) -> str:
    """Have Prefect register block types only where something has changed; the digest of what is there now.

    To see that it has nothing to register, Prefect would import every collection that is installed.
    """
    blocks = _block_sources(home)
    if _registered_blocks(home) == blocks:
        os.environ.update(
            PREFECT_SERVER_REGISTER_BLOCKS_ON_START="false", PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION="false"
        )
    return blocks


def _database_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_DATABASE_VARIABLES)}


def _registered_blocks(home: Path) -> str | None:
    """What `_block_sources` gave when the server of this home was last ready; None where its database has gone."""
    try:
        has_database = bool(_database_variables()) or (home / "prefect.db").exists()
        return (home / _BLOCKS_FILE).read_text(encoding="ascii") if has_database else None
    except OSError:
        return None


def _configure_prefect(home: Path, port: int, url: str, password: str) -> None:
    # Whoever starts a server means this one.
    os.environ.pop("PREFECT_API_URL", None)
    os.environ.update(
        QUIET,
        PREFECT_HOME=str(home),
        PREFECT_SERVER_API_PORT=str(port),
        # The UI asks the API at the address it came from; without this it would ask port 4200.
        PREFECT_SERVER_UI_API_URL="/api",
        PREFECT_UI_URL=url,
        # How soon the record of a task run that could not be written is tried again; the first write is at once.
        # Whole seconds: Prefect takes the integer part, and with 0 the server never sleeps.
        PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL="1",
        # Prefect's library for Redis, which is not used here, would be rewritten to check types at every start.
        PY_KEY_VALUE_DISABLE_BEARTYPE="true",
        # The guard refuses other pages already; these hold should something get past it.
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS=url,
        PREFECT_SERVER_CSRF_PROTECTION_ENABLED="true",
        **{PASSWORD_VARIABLE: password},
    )


def _free_port(host: str, port: int) -> int:
    """The port, or any free one for 0. Asked first: Prefect takes seconds to come to the point of listening."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Connections of a server that ended just now do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise _cannot_listen(host, port, f": {error.strerror or error}") from None
        return int(probe.getsockname()[1])


def _cannot_listen(host: str, port: int, reason: str = "") -> ServerError:
    return ServerError(
        f"Prefect's server can't listen on {host}, port {port}{reason}.",
        hint="If another program uses the port, name another one with --port.",
    )


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--until-unused", action="store_true", help="End with the last command that uses it.")
    chosen = parser.parse_args()
    gc.set_threshold(50_000, 20, 100)  # as `retune.cli.app` does, for the same reason
    keep_files_private(chosen.home.parent)
    if chosen.until_unused:
        stop_when_unused(server_plan(chosen.home).users_lock)
    try:
        serve(chosen.home, chosen.host, chosen.port)
    except RetuneError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    _main()
