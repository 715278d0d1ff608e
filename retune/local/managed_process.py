"""A program that `retune up` keeps running."""

import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from uuid import uuid4

from retune.processes.death_watch import MARK, Watchdog, kill_marked, marked_processes
from retune.processes.logs import ProcessLog, bound_log
from retune.processes.process import Process, signal_group, start_process, stop_processes, wait_until_ready

_FLOW_RUN_ID = "PREFECT__FLOW_RUN_ID"
_POLL_SECONDS = 0.2
# A program that ran this long before it ended is not one that can't start.
_STEADY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run.

    Attributes:
        name: Its name, for people.
        where: Where it answers, or what it does, for people.
        command: Its command line.
        environment: All of its variables.
        is_ready: Whether it does its work by now.
        startup_timeout_seconds: How long it may take to be ready.
        stop_seconds: How long it may take to end.
        restart_delays_seconds: How long to wait before each restart. When it has ended once more than that, it is given
            up.
    """

    name: str
    where: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool] = lambda: True
    startup_timeout_seconds: float = 180.0
    stop_seconds: float = 15.0
    restart_delays_seconds: Sequence[float] = (1.0, 2.0, 5.0, 15.0)


class ManagedProcess:
    """A program that runs, and is restarted when it ends by itself.

    Args:
        program: What runs.
        directory: Its log is kept here.
        watchdog: Ends it when this process is gone.
        when_ended: Called with the ids of the flow runs that its processes worked on, once all of those have ended.
    """

    def __init__(
        self,
        program: Program,
        directory: Path,
        watchdog: Watchdog,
        when_ended: Callable[[Collection[str]], None] = lambda _flow_runs: None,
    ) -> None:
        self.program = program
        self.log = ProcessLog(directory / f"{program.name.replace(' ', '-')}.log")
        self.mark = uuid4().hex
        self._watchdog = watchdog
        self._when_ended = when_ended
        self._process: Process | None = None
        self._started_at = 0.0
        self._restart_at: float | None = None
        self._ends = 0
        # Before anything starts: killed between a start and the report of it, this process would leave one behind.
        watchdog.watch_mark(self.mark)

    def start(self) -> None:
        """Start it; it need not be ready when this returns."""
        with self.log.open() as log:
            self._process = start_process(
                self.program.command,
                environment={**self.program.environment, MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._started_at, self._restart_at = time.monotonic(), None
        self._watchdog.watch_group(self._process.pid)

    def wait_until_ready(self, at_each_poll: Callable[[], None]) -> None:
        """Wait until it does its work.

        Args:
            at_each_poll: Called while waiting; raises to end the wait.

        Raises:
            ServerError: It ended, or took too long.
        """
        wait_until_ready(
            self._started(),
            self.program.is_ready,
            timeout_seconds=self.program.startup_timeout_seconds,
            failure=lambda what: self.log.failure(f"{self.program.name} {what}"),
            at_each_poll=at_each_poll,
            poll_seconds=_POLL_SECONDS,
        )

    def run_to_end(self, at_each_poll: Callable[[], None]) -> list[str]:
        """Run a program that ends by itself.

        Args:
            at_each_poll: Called while it runs; raises to stop it.

        Returns:
            The lines that it printed.

        Raises:
            ServerError: It failed.
        """
        self.start()
        try:
            while self._started().poll() is None:
                at_each_poll()
                time.sleep(_POLL_SECONDS)
        finally:
            self.stop()
        if self._started().returncode:
            raise self.log.failure(f"{self.program.name} failed")
        return self.log.output().splitlines()

    def supervise(self, say: Callable[[str], None]) -> None:
        """Restart it if it has ended, and bound its log. To be called again and again.

        Args:
            say: Called with what happened.

        Raises:
            ServerError: It has ended too often.
        """
        # A full disk ends nothing; the log is bounded once there is room.
        with suppress(OSError):
            bound_log(self.log.path)
        if self._restart_at is not None:
            if time.monotonic() >= self._restart_at:
                self.start()
            return
        process = self._started()
        if process.poll() is None:
            return
        flow_runs = self._flow_runs()
        # At once: later its number may be another's.
        signal_group(process.pid, SIGKILL)
        self._end_rest(flow_runs)
        name, delays = self.program.name, self.program.restart_delays_seconds
        self._ends = 1 if time.monotonic() - self._started_at > _STEADY_SECONDS else self._ends + 1
        if self._ends > len(delays):
            raise self.log.failure(f"{name} ended {self._ends} times")
        delay = delays[self._ends - 1]
        say(f"{name} has ended ({self.log.last_words() or 'it printed nothing'}); restarting it in {delay:.0f} s")
        # Waiting here would keep Ctrl-C waiting too.
        self._restart_at = time.monotonic() + delay

    def stop(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Stop it and all that it started: SIGTERM, and SIGKILL for what does not end.

        Args:
            is_hurried: Whether to send SIGKILL now; asked again and again.
        """
        if self._process is None:
            return
        flow_runs = self._flow_runs()
        stop_processes([self._process], grace_seconds=self.program.stop_seconds, is_hurried=is_hurried)
        self._end_rest(flow_runs)

    def _end_rest(self, flow_runs: Collection[str]) -> None:
        """Kill what the process left, in groups of their own too."""
        self._watchdog.forget(self._started().pid)
        kill_marked(self.mark)
        if flow_runs:
            self._when_ended(flow_runs)

    def _flow_runs(self) -> set[str]:
        """Ids of the flow runs that its processes work on."""
        return {run for variables in marked_processes(self.mark).values() if (run := variables.get(_FLOW_RUN_ID))}

    def _started(self) -> Process:
        assert self._process is not None  # noqa: S101 - called after `start`
        return self._process
