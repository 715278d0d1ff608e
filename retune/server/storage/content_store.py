"""The bytes of files, each under its own id in one directory."""

import errno
import fcntl
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

_DRAFT_SUFFIX = ".tmp"
_WRITE_BACK_BYTES = 32 * 1024 * 1024


def sync_to_disk(path: Path) -> None:
    """Flush a file or a directory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Draft:
    """A content while it arrives: written under a temporary name, then kept under its id, then settled or discarded.

    While it is open its file is there and locked, also after `keep`. So one that a process left behind when it died
    is recognized by its lock being free, and its content, if it exists, by its name.

    As a context manager it is settled if the block succeeds, and discarded if it raises.

    Attributes:
        content_id: What it is kept under.
    """

    def __init__(self, path: Path, content_path: Path, *, spare_bytes: int = 0) -> None:
        self.content_id = content_path.name
        self._path = path
        self._content_path = content_path
        self._spare_bytes = spare_bytes
        self._kept = False
        self._size = self._written_back = 0
        self._stream = _open_locked(path)

    def write(self, data: bytes | memoryview) -> int:
        """Append bytes, all of them.

        Raises:
            OSError: The disk is full or failing.
        """
        if self._spare_bytes:
            _require_space(self._path.parent, self._spare_bytes)
        rest = memoryview(data)
        while rest:
            rest = rest[self._stream.write(rest) :]
        self._size += len(data)
        self._begin_write_back()
        return len(data)

    def keep(self) -> None:
        """Store the bytes durably, under their id.

        Raises:
            OSError: The disk is full or failing.
        """
        os.fsync(self._stream.fileno())
        os.link(self._path, self._content_path)
        self._kept = True
        # A new name is on disk only once its directory is.
        sync_to_disk(self._path.parent)

    def settle(self) -> None:
        """Close the draft of a content that the database now refers to."""
        self._path.unlink(missing_ok=True)
        self._stream.close()

    def discard(self) -> None:
        """Close the draft of a content that nothing refers to, and delete its bytes; a second call does nothing."""
        if self._stream.closed:
            return
        if self._kept:
            self._content_path.unlink(missing_ok=True)
        self.settle()

    def abandon(self) -> None:
        """Leave it to `ContentStore.drop_abandoned_drafts` whether this is settled or discarded."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._stream.closed:
            self.settle()
        else:
            self.discard()

    def _begin_write_back(self) -> None:
        # Linux starts writing pages that it is advised to drop from memory, without blocking. So `keep` waits for
        # the last bytes only.
        behind = self._size - self._written_back
        if behind >= _WRITE_BACK_BYTES and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._stream.fileno(), self._written_back, behind, os.POSIX_FADV_DONTNEED)
            self._written_back = self._size


class ContentStore:
    """Keeps contents so that what was acknowledged survives a power cut.

    Paths are made of ids that the server chose; nothing that a client sent becomes part of one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, content_id: str) -> Path:
        """The path of a content's bytes."""
        return self._directory / content_id

    def new_draft(self, content_id: str, *, spare_bytes: int = 0) -> Draft:
        """Create a draft of a new content.

        Args:
            content_id: An id that the server chose.
            spare_bytes: How much room writing must leave on the disk, so that the database can still change.

        Raises:
            OSError: The disk is full or failing.
        """
        path = self.path(content_id)
        return Draft(path.with_name(path.name + _DRAFT_SUFFIX), path, spare_bytes=spare_bytes)

    def remove(self, content_id: str) -> None:
        """Delete a content; not an error if it is already gone."""
        self.path(content_id).unlink(missing_ok=True)

    def require_space(self, size: int, *, spare_bytes: int) -> None:
        """Check that the disk has room for `size` more bytes, and `spare_bytes` in addition.

        Raises:
            OSError: ENOSPC: it has not.
        """
        _require_space(self._directory, size + spare_bytes)

    def content_ids(self) -> list[str]:
        """Ids of all contents that are there."""
        return [path.name for path in self._directory.iterdir() if path.suffix != _DRAFT_SUFFIX]

    def drop_abandoned_drafts(self, is_referenced: Callable[[str], bool]) -> int:
        """Delete the unfinished drafts of dead processes, and return how many there were.

        Args:
            is_referenced: Returns whether the database refers to a content of this id; then only its draft is deleted.
        """
        return sum(self._drop_abandoned(path, is_referenced) for path in self._directory.glob(f"*{_DRAFT_SUFFIX}"))

    def _drop_abandoned(self, path: Path, is_referenced: Callable[[str], bool]) -> bool:
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            return False
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if not is_referenced(path.stem):
                self.remove(path.stem)
            path.unlink(missing_ok=True)
        return True


def _open_locked(path: Path) -> FileIO:
    """Make a draft's file and lock it.

    Between the two it looks abandoned, and may be dropped: then it is made again.
    """
    while True:
        stream = path.open("xb", buffering=0)
        fcntl.flock(stream, fcntl.LOCK_EX)
        if os.fstat(stream.fileno()).st_nlink:
            return stream
        stream.close()


def _require_space(directory: Path, size: int) -> None:
    disk = os.statvfs(directory)
    if disk.f_bavail * disk.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))
