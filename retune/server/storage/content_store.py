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
    """Have the system bring a file or a directory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Draft:
    """A content on its way in: written beside the others, then kept under its id, then settled or discarded.

    While it is open its file is there and locked, also after `keep`. So one that a process left behind when it died
    is known by its lock being free, and its content, if it got as far, by its name.

    As a context manager it is settled where the block ends well and discarded where it raises.

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
            _require_room(self._path.parent, self._spare_bytes)
        rest = memoryview(data)
        while rest:
            rest = rest[self._stream.write(rest) :]
        self._size += len(data)
        self._begin_write_back()
        return len(data)

    def keep(self) -> None:
        """Bring the bytes to disk for good, under their id.

        Raises:
            OSError: The disk is full or failing.
        """
        os.fsync(self._stream.fileno())
        os.link(self._path, self._content_path)
        self._kept = True
        # A new name is on disk only once its directory is.
        sync_to_disk(self._path.parent)

    def settle(self) -> None:
        """End the draft of a content that the database refers to by now."""
        self._path.unlink(missing_ok=True)
        self._stream.close()

    def discard(self) -> None:
        """End the draft of a content that nothing refers to, and drop its bytes; a second time does nothing."""
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
        # Linux brings to disk what it is told not to keep in memory, and does not wait for it. So `keep` waits for
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
        """Where a content's bytes lie."""
        return self._directory / content_id

    def new_draft(self, content_id: str, *, spare_bytes: int = 0) -> Draft:
        """Begin a new content.

        Args:
            content_id: An id that the server chose.
            spare_bytes: How much room writing must leave on the disk, so that the database can still change.

        Raises:
            OSError: The disk is full or failing.
        """
        path = self.path(content_id)
        return Draft(path.with_name(path.name + _DRAFT_SUFFIX), path, spare_bytes=spare_bytes)

    def remove(self, content_id: str) -> None:
        """Delete a content; one that is gone already is no error."""
        self.path(content_id).unlink(missing_ok=True)

    def require_room(self, size: int, *, spare_bytes: int) -> None:
        """Make sure that the disk has room for so many bytes more, and some to spare.

        Raises:
            OSError: ENOSPC: it has not.
        """
        _require_room(self._directory, size + spare_bytes)

    def content_ids(self) -> list[str]:
        """Ids of all contents that are there."""
        return [path.name for path in self._directory.iterdir() if path.suffix != _DRAFT_SUFFIX]

    def drop_abandoned_drafts(self, is_referenced: Callable[[str], bool]) -> int:
        """Drop what processes left half done when they died, and return how many drafts that were.

        Args:
            is_referenced: Tells whether the database knows a content of this id; then only its draft goes.
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


def _require_room(directory: Path, size: int) -> None:
    disk = os.statvfs(directory)
    if disk.f_bavail * disk.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))
