"""Databases of a Prefect server that has started once: to migrate an empty one takes ten seconds of processor time.

The processes of one test session make each of them once, in a directory that they share; tests get copies.
"""

import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from postgresql import PostgreSQL
from prefect_process import CHECKOUT, PrefectServer, Processes
from waiting import DEADLINE_SECONDS, wait_for

_KEPT = ("prefect.db", "blocks")
_DATABASE = "prefect"


def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of this session of pytest; all its workers have the same."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def copy_prefect_home(shared: Path, to: Path) -> None:
    """Make a home of Prefect's server, as `retune run` has it after its first start."""
    template = _once(shared / "prefect-home", _make_home)
    # Parents of what is private are private, too.
    for directory in (to.parent, to):
        directory.mkdir(mode=0o700, exist_ok=True)
    for name in _KEPT:
        shutil.copyfile(template / name, to / name)
        (to / name).chmod(0o600)


@contextmanager
def prefect_on_postgresql(shared: Path, directory: Path, **variables: str) -> Iterator[PrefectServer]:
    """A Prefect server with a password, on a PostgreSQL of its own; both end with the block.

    Args:
        shared: Where the workers of this session keep what they share.
        directory: For its home and its logs.
        variables: What the server and whoever it starts are told.
    """
    cluster = _once(shared / "prefect-postgresql", _make_cluster) / "data"
    # Not below `directory`, which PostgreSQL's own user may not enter. On SQLite a busy server refuses writes.
    with (
        TemporaryDirectory(prefix="retune-") as own,
        _serving(PostgreSQL(Path(own)), cluster, directory, **variables) as server,
    ):
        yield server


def _once(path: Path, make: Callable[[Path], None]) -> Path:
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            unfinished.mkdir(mode=0o700)
            make(unfinished)
            unfinished.rename(path)
    return path


def _make_home(home: Path) -> None:
    processes = Processes(home, {"DO_NOT_TRACK": "1"})
    server = processes.start(
        "prefect-server", *(sys.executable, "-P", "-m", "retune.local.prefect_serving", "--home", home)
    )

    try:
        wait_for(
            (home / "blocks").exists, "the Prefect server", process=server, log=processes.log_file("prefect-server")
        )
        server.send_signal(signal.SIGTERM)
        server.wait(DEADLINE_SECONDS)
    finally:
        processes.end_all()
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _make_cluster(path: Path) -> None:
    with TemporaryDirectory(prefix="retune-") as own:
        database = PostgreSQL(Path(own))
        with _serving(database, None, path):
            pass
        subprocess.run(["cp", "--archive", Path(own) / "data", path], check=True)


@contextmanager
def _serving(database: PostgreSQL, cluster: Path | None, directory: Path, **variables: str) -> Iterator[PrefectServer]:
    told = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_HOME": str(directory)}
    processes = Processes(directory, {**told, "PYTHONPATH": str(CHECKOUT), **variables})
    database.create(cluster)
    try:
        address = database.url(_DATABASE) if cluster else database.new_database(_DATABASE)
        url = address.set(drivername="postgresql+asyncpg")
        server = PrefectServer(processes, url.render_as_string(hide_password=False), "admin:a-password").start()
        processes.environment |= server.client_variables
        yield server
    finally:
        processes.end_all()
        database.stop()
