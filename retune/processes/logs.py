"""Logs of processes: their size is bounded, and what was printed last explains a failure."""

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO

from retune.errors import ServerError
from retune.private_files import private_opener

MAX_LOG_BYTES = 10 << 20
_TAIL_BYTES = 20_000
_MAX_LINE_CHARACTERS = 600
_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception)\b: \S")


def bound_log(path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Move the content of a log that is full to a second file, with `.1` behind the name, whose content it replaces.

    The log is emptied in place and never replaced: every process that has it open for appending continues at its new
    end.

    Raises:
        OSError: There is no room for the second file, or it can't be written.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return
    if size > max_bytes:
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.truncate(path, 0)


class ProcessLog:
    """The file that a process's output is appended to, and the output of the processes before it.

    Args:
        path: The file; it is made when it is opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start = 0
        self._returned = path.stat().st_size if path.exists() else 0

    def open(self) -> IO[bytes]:
        """Open it for a new process; others on this machine may not read it.

        Raises:
            OSError: It can't be written.
        """
        # A full disk has no room for the copy, but what can be appended is appended.
        with suppress(OSError):
            bound_log(self.path)
        stream = open(self.path, "ab", opener=private_opener)  # noqa: SIM115 - the caller's
        self._start = stream.tell()
        return stream

    def output(self) -> str:
        """Everything that was printed since it was opened."""
        return self._read(self._start).decode("utf-8", "replace")

    def last_words(self) -> str:
        """The last error that was printed since it was opened, else the last line; "" for none.

        Servers log that they stop; what went wrong is in the last error before that.
        """
        text = self._read(max(self._start, self._size() - _TAIL_BYTES)).decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if _ERROR.match(line)]
        return next(iter([*errors[-1:], *lines[-1:]]), "")[-_MAX_LINE_CHARACTERS:]

    def failure(self, what: str) -> ServerError:
        """An error that says what happened and what was printed last."""
        return ServerError(
            f"{what}: {self.last_words() or 'it printed nothing'}", hint=f"All that it printed is in {self.path}."
        )

    def new_lines(self) -> list[str]:
        """The whole lines that were added since the last call, or since this object was made."""
        start = self._returned if self._returned <= self._size() else 0
        content = self._read(start)
        whole = content[: content.rfind(b"\n") + 1]
        self._returned = start + len(whole)
        return whole.decode("utf-8", "replace").splitlines()

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _read(self, start: int) -> bytes:
        if not self.path.exists():
            return b""
        with self.path.open("rb") as stream:
            # Where it was emptied meanwhile, all of it is newer.
            stream.seek(start if start <= self._size() else 0)
            return stream.read()
