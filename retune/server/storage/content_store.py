"""The bytes of files, each under its own id in one directory."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

_TEMPORARY_SUFFIX = ".tmp"


def sync_to_disk(path: Path) -> None:
    """Have the system bring a file or a directory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class ContentStore:
    """Keeps contents so that what was acknowledged survives a power cut.

    Paths are made of ids that the server chose; nothing that a client sent becomes part of one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        for leftover in directory.glob(f"*{_TEMPORARY_SUFFIX}"):
            leftover.unlink()

    def path(self, file_id: str) -> Path:
        """Where a file's bytes lie."""
        return self._directory / file_id

    def new_temporary(self) -> tuple[IO[bytes], Path]:
        """Open a file for writing that `keep` or `discard` ends."""
        handle, name = tempfile.mkstemp(suffix=_TEMPORARY_SUFFIX, dir=self._directory)
        return os.fdopen(handle, "wb"), Path(name)

    def keep(self, stream: IO[bytes], temporary: Path, file_id: str) -> None:
        """Bring a temporary file to disk for good, under its id.

        Raises:
            OSError: The disk is full or failing; the temporary file is still there.
        """
        stream.flush()
        os.fsync(stream.fileno())
        stream.close()
        temporary.replace(self.path(file_id))
        # A rename is on disk only once its directory is.
        sync_to_disk(self._directory)

    def discard(self, stream: IO[bytes], temporary: Path) -> None:
        """Drop a temporary file."""
        try:
            stream.close()
        finally:
            temporary.unlink(missing_ok=True)

    def add(self, file_id: str, pieces: Iterable[bytes]) -> int:
        """Store a new content, piece by piece, and return its size in bytes."""
        stream, temporary = self.new_temporary()
        try:
            size = sum(stream.write(piece) for piece in pieces)
            self.keep(stream, temporary, file_id)
        except BaseException:
            self.discard(stream, temporary)
            raise
        return size

    def remove(self, file_id: str) -> None:
        """Delete a content; one that is gone already is no error."""
        self.path(file_id).unlink(missing_ok=True)
