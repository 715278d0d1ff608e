"""The data directory: its layout, its locks, and the address of its server."""

import fcntl
import json
import os
import shutil
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, ClassVar

from retune.errors import ServerError
from retune.files import write_json
from retune.private_files import denied_rights, make_private_directory, private_opener


class DataDirectoryInUseError(ServerError):
    """Another server uses the data directory."""

    EXIT_STATUS: ClassVar = 75  # sysexits' EX_TEMPFAIL: distinguishes losing the race from a server that can't start


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a running server writes to `server.json`.

    Attributes:
        pid: Its process.
        base_url: Where its API answers, with `/v1`.
        version: Retune's version.
        instance: A random id, which `/health` repeats: another program on the same port has a different one.
    """

    pid: int
    base_url: str
    version: str
    instance: str


class DataDirectory:
    """Paths under one data directory, and its locks.

    `server.lock` is held by the server that owns the directory. It is a flock: the kernel drops it with its process,
    however that ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.database = self.path / "server.sqlite"
        self.contents = self.path / "files"
        self.jobs = self.path / "jobs"
        self.batches = self.path / "batches"
        self.metrics = self.path / "metrics"
        self.log = self.path / "server.log"
        self.users_lock = self.path / "users.lock"
        self._announcement = self.path / "server.json"
        self._lock: IO[bytes] | None = None

    def create(self) -> None:
        """Make the directory, for its owner alone: it holds training data.

        Raises:
            ServerError: It can't be made or written.
        """
        try:
            make_private_directory(self.path)
        except FileExistsError:
            raise ServerError(
                f"The data directory {self.path} is a file.", hint="Name another with --data-dir."
            ) from None
        except OSError as error:
            raise not_writable(self.path, error) from error

    def lock(self) -> None:
        """Lock the directory for this process's server.

        Raises:
            DataDirectoryInUseError: Another server uses it.
            ServerError: It can't be written.
        """
        self.create()
        stream = self._open("server.lock")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            other = self.announcement()
            where = f" (process {other.pid}, {other.base_url})" if other else ""
            raise DataDirectoryInUseError(
                f"The data directory {self.path} is already served by another server{where}.",
                hint="Use that one, stop it, or name another directory with --data-dir.",
            ) from None
        self._lock = stream

    def is_used(self) -> bool:
        """Whether a server has run here."""
        return self.contents.exists()

    def prepare(self) -> None:
        """Create what is in it, readable for its owner only, as the directory itself may be open to others.

        Raises:
            OSError: It can't be written.
        """
        shutil.rmtree(self.metrics, ignore_errors=True)  # What processes of an earlier server counted.
        directories = (self.contents, self.jobs, self.batches, self.metrics)
        for path in directories:
            make_private_directory(path)
        denied = denied_rights(self.path)
        for path in (*directories, *self._databases()):
            found = path.stat()
            if found.st_uid == os.geteuid():
                path.chmod(stat.S_IMODE(found.st_mode) & ~denied)

    def _databases(self) -> list[Path]:
        return list(self.path.glob(f"{self.database.stem}*{self.database.suffix}*"))

    def unlock(self) -> None:
        """Unlock the directory."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def announce(self, announcement: Announcement) -> None:
        """Write the server's address to `server.json`."""
        write_json(self._announcement, asdict(announcement))

    def remove_announcement(self) -> None:
        """Remove `server.json`."""
        self._announcement.unlink(missing_ok=True)

    def announcement(self) -> Announcement | None:
        """What a server announced last; it may have ended since."""
        try:
            return Announcement(**json.loads(self._announcement.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def relative(self, path: Path) -> str:
        """A path under this directory, as the database keeps it.

        Raises:
            ValueError: It is not under this directory.
        """
        return path.absolute().relative_to(self.path).as_posix()

    def _open(self, name: str) -> IO[bytes]:
        path = self.path / name
        try:
            return open(path, "a+b", opener=private_opener)
        except OSError as error:
            raise not_writable(path, error) from error


def not_writable(path: Path, error: OSError) -> ServerError:
    """The error for a data directory that can't be written."""
    return ServerError(
        f"Can't write {path}: {error.strerror}.",
        hint="Check its permissions and the room on its disk, or name another directory with --data-dir.",
    )
