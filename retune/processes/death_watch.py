"""Processes that end when the one that started them is gone, however that came: also by SIGKILL.

There are two ways. A process that Retune wrote watches its standard input: a pipe that its parent holds open, and that
the system closes with it. For programs of others, such as Prefect's worker, there is a watchdog: a process that watches
such a pipe and then ends the others. It finds them by their process groups, and by a mark in their environment, which
all that they start inherit: a worker starts each flow run in a group of its own, and goes before it. Marks are read
from /proc, so that they find nothing where there is none, as on macOS.

    python -P -m retune.processes.death_watch

reads what to watch from standard input, a line each: `mark TEXT`, `group NUMBER`, `forget NUMBER`, and `done`.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from retune.processes.process import (
    close_pipes,
    module_command,
    own_environment,
    send_line,
    signal_group,
    start_process,
)

MARK = "RETUNE_UP_MARK"
_MOST_ROUNDS = 50
_POLL_SECONDS = 0.05
_GRACE_SECONDS = 10.0


def when_parent_exits(action: Callable[[], None]) -> None:
    """Call `action` in a thread once the parent is gone, which holds the other end of standard input open."""

    def watch() -> None:
        # Reading the descriptor itself: a buffered reader's lock would be held while the interpreter shuts down.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        action()

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def stop_when_parent_exits() -> None:
    """Raise SIGTERM in this process once its parent is gone."""
    when_parent_exits(lambda: os.kill(os.getpid(), signal.SIGTERM))


def marked_processes(mark: str) -> dict[int, Mapping[str, str]]:
    """All processes that were started with a mark: their ids, and the variables that they were started with."""
    found: dict[int, Mapping[str, str]] = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            variables = path.read_bytes().decode("utf-8", "replace").split("\0")
            if f"{MARK}={mark}" in variables:
                found[int(path.parent.name)] = dict(one.split("=", 1) for one in variables if "=" in one)
    return found


def kill_marked(mark: str) -> None:
    """Kill all processes with a mark, and what those start meanwhile."""
    for _ in range(_MOST_ROUNDS):
        processes = marked_processes(mark)
        if not processes:
            return
        for process in processes:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


class Watchdog:
    """A process that ends others when this one is gone. A context manager."""

    def __enter__(self) -> Self:
        """Start it."""
        self._process = start_process(module_command("retune.processes.death_watch"), environment=own_environment())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, and leave the others alone."""
        send_line(self._process, b"done")
        close_pipes(self._process)
        self._process.wait()

    def watch_mark(self, mark: str) -> None:
        """Have all processes with this mark killed once this process is gone."""
        send_line(self._process, f"mark {mark}".encode())

    def watch_group(self, group: int) -> None:
        """Have a process group stopped once this process is gone: SIGTERM, and SIGKILL after ten seconds."""
        send_line(self._process, f"group {group}".encode())

    def forget(self, group: int) -> None:
        """Leave a group alone that has ended: its number may be another's by now."""
        send_line(self._process, f"forget {group}".encode())


def _watch(lines: Iterable[str]) -> None:
    groups: dict[int, None] = {}
    marks: set[str] = set()
    for line in lines:
        if line.strip() == "done":
            return
        word, value = line.split()
        if word == "mark":
            marks.add(value)
        elif word == "group":
            groups[int(value)] = None
        else:
            groups.pop(int(value), None)
    # Last started, first ended: a worker before the server that it works for.
    newest_first = list(reversed(groups))
    for group in newest_first:
        signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    while any(map(_exists, newest_first)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    for group in newest_first:
        signal_group(group, signal.SIGKILL)
    for mark in marks:
        kill_marked(mark)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


if __name__ == "__main__":
    _watch(sys.stdin)
