"""Directories for work that is not finished: it is moved to its place when it is, or nothing of it stays."""

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from retune.errors import RunDirectoryError
from retune.private_files import make_private_directory, private_opener

_PREFIX = ".unfinished-"
_LOCK = ".lock"

CHECK_PREFIX = "retune-check-"
"""What the names of a check's temporary directories start with."""


@contextmanager
def staging_directory(parent: Path, *, prefix: str = _PREFIX, mode: int = 0o700) -> Iterator[Path]:
    """Make a directory in `parent`, on the file system where its content is to go; what is left in it is removed.

    What a killed process left there is removed first; a lock, which ends with its process, tells it from what another
    process is working on.

    Args:
        parent: Is made where it is missing.
        prefix: What the names of such directories start with.
        mode: The directory's permissions, less the umask; only the owner's by default.

    Raises:
        RunDirectoryError: `parent` can't be written.
    """
    try:
        make_private_directory(parent)
        _remove_leftovers(parent, prefix)
        lock = _new_lock(parent, prefix)
    except OSError as error:
        raise _cannot_write(parent, error) from None
    with lock:
        directory = Path(lock.name.removesuffix(_LOCK))
        try:
            directory.mkdir(mode)
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            Path(lock.name).unlink(missing_ok=True)


def replace_directory(target: Path, finished: Path) -> None:
    """Put a finished directory where another one may be. Only the caller may be using that one.

    Raises:
        RunDirectoryError: It can't be moved there.
    """
    try:
        if target.exists():
            # What is half removed must not look whole to anybody: it is moved away first.
            finished.with_name(f"{finished.name}.old").mkdir()
            target.rename(finished.with_name(f"{finished.name}.old"))
        finished.rename(target)
    except OSError as error:
        raise _cannot_write(target, error) from None
    finally:
        shutil.rmtree(finished.with_name(f"{finished.name}.old"), ignore_errors=True)


def _new_lock(parent: Path, prefix: str) -> IO[bytes]:
    while True:
        lock = open(parent / f"{prefix}{uuid.uuid4().hex}{_LOCK}", "ab", opener=private_opener)  # noqa: SIM115 - closed by its owner
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Somebody who removes leftovers may have taken it for one before it was locked.
            if os.fstat(lock.fileno()).st_nlink:
                return lock
        except BaseException:
            lock.close()
            raise
        lock.close()


def _remove_leftovers(parent: Path, prefix: str) -> None:
    for path in parent.glob(f"{prefix}*{_LOCK}"):
        with contextlib.suppress(OSError), path.open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in parent.glob(f"{path.name.removesuffix(_LOCK)}*"):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
            path.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> RunDirectoryError:
    return RunDirectoryError(
        f"Can't write the run's directory {path}: {error.strerror}.",
        hint="Name a directory that you may write with --output-dir.",
    )
