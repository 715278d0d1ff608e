"""A throw-away PostgreSQL of the tests' own."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL, create_engine, text
from waiting import DEADLINE_SECONDS, wait_for

_PASSWORD = "p@ss/word"


def missing() -> str | None:
    """Why no PostgreSQL can be started here; None where one can."""
    if _find("initdb") is None:
        return "PostgreSQL's programs are not installed"
    if os.geteuid() == 0 and (shutil.which("setpriv") is None or _unprivileged() is None):
        return "PostgreSQL refuses to run as root, and there is no other user to run it as"
    return None


@dataclass
class PostgreSQL:
    """A cluster in a directory of its own, on a free port of this machine."""

    directory: Path
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _names: list[str] = field(default_factory=list)

    def create(self, like: Path | None = None) -> "PostgreSQL":
        """Make the cluster and start it.

        Args:
            like: The data of one that was stopped, to begin with a copy of it.
        """
        password = self.directory / "password"
        password.write_text(_PASSWORD)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        if os.geteuid() == 0:
            user = _unprivileged()
            assert user
            for path in (self.directory, password):
                shutil.chown(path, user.pw_uid, user.pw_gid)
        if like:
            subprocess.run(["cp", "--archive", like, self.directory / "data"], check=True)
            return self.start()
        directories: list[str | Path] = ["-D", self.directory / "data", "--pwfile", password]
        options = ["-U", "retune", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(
            _as_user([_program("initdb"), *directories, *options]),
            check=True,
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
        )
        return self.start()

    def start(self) -> "PostgreSQL":
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
        }
        options = [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                _as_user([_program("postgres"), "-D", self.directory / "data", *options]),
                cwd=self.directory,
                stdout=log,
                stderr=log,
            )
        self._wait_until_it_answers()
        return self

    def stop(self) -> None:
        """Stop at once, ending every session."""
        assert self._process
        self._process.send_signal(signal.SIGINT)
        self._process.wait(DEADLINE_SECONDS)

    def new_database(self, name: str | None = None) -> URL:
        name = name or f"test_{len(self._names)}"
        self._names.append(name)
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> None:
        engine = create_engine(self.url(database).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def url(self, name: str) -> URL:
        """Address of a database."""
        return URL.create("postgresql", "retune", _PASSWORD, "127.0.0.1", self.port, name)

    def _wait_until_it_answers(self) -> None:
        command = [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_for(
            lambda: subprocess.run(command, check=False).returncode == 0,
            "PostgreSQL",
            process=self._process,
            log=self.directory / "log",
        )


def _program(name: str) -> str:
    program = _find(name)
    assert program, f"{name} is not installed"
    return program


def _find(name: str) -> str | None:
    # Debian keeps the programs of each version beside each other, off the path.
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(installed[-1]) if installed else None)


def _unprivileged() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def _as_user(command: Sequence[str | Path]) -> list[str]:
    """A command for a user that PostgreSQL takes."""
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return words
    user = _unprivileged()
    assert user
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *words]
