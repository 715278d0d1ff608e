"""Processes that `retune up` keeps running: their logs, their ends, and that none outlives it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast
from uuid import uuid4

from retune.errors import ServerError
from retune.processes.marks import MARK, end_marked, flow_runs_of

_LARGEST_LOG = 10 << 20
_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception)\b: \S")
_POLL_SECONDS = 0.2
_PAUSES_SECONDS = (1.0, 2.0, 5.0, 15.0)
# What ran for so long and then ended is no process that can't start.
_STEADY_SECONDS = 300.0
# How long a watchdog waits between SIGTERM and SIGKILL.
_SECONDS_TO_END = 10.0


@dataclass(frozen=True, slots=True)
class Program:
    """What is to run.

    Attributes:
        name: What people call it.
        where: Where it answers, or what it does, for people.
        command: Its command line.
        environment: All of its variables.
        is_ready: Whether it does its work by now.
        patience_seconds: How long it may take to be ready.
        stop_seconds: How long it may take to end.
    """

    name: str
    where: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool] = lambda: True
    patience_seconds: float = 180.0
    stop_seconds: float = 15.0


class ManagedProcess:
    """A program that runs, and is started again where it ends by itself.

    Args:
        program: What runs.
        directory: Its log is kept here.
        watchdog: Ends it when this process is gone.
        when_ended: Told the flow runs that its processes worked on, once none of them is left.
    """

    def __init__(
        self,
        program: Program,
        directory: Path,
        watchdog: "Watchdog",
        when_ended: Callable[[Collection[str]], None] = lambda _flow_runs: None,
    ) -> None:
        self.program = program
        self.log = directory / f"{program.name.replace(' ', '-')}.log"
        self._watchdog = watchdog
        self._when_ended = when_ended
        self.mark = uuid4().hex
        self._shown = self.log.stat().st_size if self.log.exists() else 0
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._ends = 0
        # Before anything starts: killed between a start and the word of it, this process would leave one behind.
        watchdog.watch_mark(self.mark)
        self._restart_at: float | None = None

    def start(self) -> None:
        """Start it; it need not be ready when this returns."""
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own command line)
                [*self.program.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.program.environment, MARK: self.mark},
                # The terminal's Ctrl-C must reach it only through us, or there would be no order in stopping.
                start_new_session=True,
            )
        self._started, self._restart_at = time.monotonic(), None
        self._watchdog.watch_group(self._process.pid)

    def wait_until_ready(self, at_each_poll: Callable[[], None]) -> None:
        """Wait until it does its work.

        Args:
            at_each_poll: Called all the while; may raise to stop the waiting.

        Raises:
            ServerError: It ended, or took too long.
        """
        deadline = time.monotonic() + self.program.patience_seconds
        while not self.program.is_ready():
            if self._has_ended():
                raise self.failure(f"{self.program.name} did not start")
            at_each_poll()
            if time.monotonic() > deadline:
                raise self.failure(f"{self.program.name} was not ready within {self.program.patience_seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def run_to_end(self, at_each_poll: Callable[[], None]) -> list[str]:
        """Run a program that ends by itself.

        Returns:
            The lines that it printed.

        Raises:
            ServerError: It failed.
        """
        before = self.log.stat().st_size if self.log.exists() else 0
        self.start()
        try:
            while not self._has_ended():
                at_each_poll()
                time.sleep(_POLL_SECONDS)
        finally:
            self.stop()
        if self._process is not None and self._process.returncode:
            raise self.failure(f"{self.program.name} failed")
        return self.log.read_bytes()[before:].decode("utf-8", "replace").splitlines()

    def supervise(self, say: Callable[[str], None]) -> None:
        """Start it again if it has ended, and keep its log from growing for ever.

        Raises:
            ServerError: It ended again and again.
        """
        self._bound_log()
        if self._restart_at is not None:
            if time.monotonic() >= self._restart_at:
                self.start()
            return
        if self._process is None or not self._has_ended():
            return
        self._watchdog.forget(self._process.pid)
        self._end_what_it_started(flow_runs_of(self.mark))
        self._ends = 1 if time.monotonic() - self._started > _STEADY_SECONDS else self._ends + 1
        if self._ends > len(_PAUSES_SECONDS):
            raise self.failure(f"{self.program.name} ended {self._ends} times")
        pause = _PAUSES_SECONDS[self._ends - 1]
        say(f"{self.program.name} has ended ({self._last_line()}); starting it again in {pause:.0f} s")
        # Waiting here would keep Ctrl-C waiting too.
        self._restart_at = time.monotonic() + pause

    def stop(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """End it and all that it started: politely, and after a while not.

        Args:
            is_hurried: Whether not to wait any longer; asked all the while.
        """
        if self._process is None:
            return
        flow_runs = flow_runs_of(self.mark)
        _signal_group(self._process.pid, signal.SIGTERM)
        deadline = time.monotonic() + self.program.stop_seconds
        while not self._has_ended() and time.monotonic() < deadline and not is_hurried():
            time.sleep(_POLL_SECONDS / 4)
        _signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._watchdog.forget(self._process.pid)
        self._end_what_it_started(flow_runs)

    def _end_what_it_started(self, flow_runs: Collection[str]) -> None:
        end_marked(self.mark)
        if flow_runs:
            self._when_ended(flow_runs)

    def new_lines(self) -> list[str]:
        """The lines that it has logged since the last call."""
        try:
            size = self.log.stat().st_size
            # It was cut meanwhile where it is shorter than before.
            with self.log.open("rb") as log:
                log.seek(self._shown if self._shown <= size else 0)
                content = log.read()
                whole = content[: content.rfind(b"\n") + 1]
                self._shown = log.tell() - len(content) + len(whole)
        except OSError:
            return []
        return whole.decode("utf-8", "replace").splitlines()

    def failure(self, what: str) -> ServerError:
        """An error with what the program said last."""
        return ServerError(f"{what}: {self._last_line()}", hint=f"All that it printed is in {self.log}.")

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _last_line(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace")[-20_000:].splitlines()
        except OSError:
            lines = []
        said = [line.strip() for line in lines if line.strip()]
        # Servers end with words of farewell; what went wrong is in the last error before them.
        errors = [line for line in said if _ERROR.match(line)]
        return next(iter([*errors[-1:], *said[-1:]]), "it printed nothing")

    def _bound_log(self) -> None:
        with suppress(OSError):
            if self.log.stat().st_size > _LARGEST_LOG:
                # It is open for appending over there, so it goes on from the new end.
                shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)


class Watchdog:
    """A process that ends the others when this one is gone, however that came. A context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "retune.local.managed_process"], stdin=subprocess.PIPE, start_new_session=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(BrokenPipeError):
            self._stdin().write(b"done\n")
            self._stdin().close()
        self._process.wait()

    def watch_mark(self, mark: str) -> None:
        """Have all processes with this mark killed once this process is gone."""
        self._tell(f"mark {mark}")

    def watch_group(self, group: int) -> None:
        """Have a process group ended politely once this process is gone."""
        self._tell(f"group {group}")

    def forget(self, group: int) -> None:
        """Leave a group alone that has ended: its number may be another's by now."""
        self._tell(f"forget {group}")

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError):
            self._stdin().write(f"{line}\n".encode())
            self._stdin().flush()

    def _stdin(self) -> IO[bytes]:
        return cast("IO[bytes]", self._process.stdin)


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _signal_groups(groups: Iterable[int], number: signal.Signals) -> None:
    # Last started, first ended: a worker before the server that it works for.
    for group in reversed(list(groups)):
        _signal_group(group, number)


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _keep(lines: Iterable[str]) -> None:
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
    _signal_groups(groups, signal.SIGTERM)
    deadline = time.monotonic() + _SECONDS_TO_END
    while any(map(_is_there, groups)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    _signal_groups(groups, signal.SIGKILL)
    for mark in marks:
        end_marked(mark)


if __name__ == "__main__":
    _keep(sys.stdin)
