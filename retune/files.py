"""Writing files so that a reader finds the old one or the new one, whole."""

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from retune.errors import RunDirectoryError
from retune.private_files import make_private_directory, private_opener, user_file_mode

_CHUNK_BYTES = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of whatever can't be written while the block runs what it was for, and what to do.

    Raises:
        RunDirectoryError: `path` can't be written.
    """
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> RunDirectoryError:
    """What to say where a file or directory can't be written."""
    do_next = "Make room or choose" if error.errno in _NO_ROOM else "Choose"
    return RunDirectoryError(f"Can't write {path}: {error.strerror}.", hint=f"{do_next} another place to write to.")


@contextmanager
def atomic_write(path: Path, *, is_private: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` for binary writing; rename it to `path` when the block ends well.

    If the block raises, the temporary file is removed and whatever was at `path` stays as it was.

    Args:
        path: The file. Directories above it that are missing are made, for their owner alone.
        is_private: It is for its owner alone. What users write to places of their own has the mode that they are
            used to.

    Raises:
        OSError: The directory can't be written, or the disk is full.
    """
    make_private_directory(path.parent)
    temporary = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb", opener=private_opener) as stream:
            if not is_private:
                os.fchmod(stream.fileno(), user_file_mode())
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_directory(path: Path) -> None:
    """Have the names of a directory's files survive a power cut, too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes, *, is_private: bool = True) -> None:
    """Write a whole file atomically."""
    with atomic_write(path, is_private=is_private) as stream:
        stream.write(content)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented UTF-8 JSON, atomically, keys in the order given."""
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def sha256_of_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
