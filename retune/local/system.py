"""The system that `retune up` runs: Prefect, a fine-tuning server, the deployments, and a worker."""

import fcntl
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from retune.errors import ServerError
from retune.local.managed_process import ManagedProcess, Program
from retune.local.prefect_access import prefect_password
from retune.local.prefect_api import PrefectApi
from retune.local.programs import Addresses, UpOptions, programs, register_program
from retune.processes.death_watch import Watchdog

_POLL_SECONDS = 0.5
_KIND_WIDTH = 13


class SystemView(Protocol):
    """Where the system reports what it does."""

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """Show that the block waits for something."""

    def show_ready(self, name: str, text: str) -> None:
        """Show that a part is ready, and where it is."""

    def say(self, text: str) -> None:
        """Show a line that is not a result."""


@contextmanager
def only_one(home: Path, ui: str) -> Iterator[None]:
    """Refuse a second `retune up` on the same home while the block runs.

    Args:
        home: Where the system keeps its files.
        ui: Address of Prefect's UI, for whoever finds the lock taken.

    Raises:
        ServerError: Another one runs.
    """
    with (home / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ServerError(
                f"Retune is up already for {home}: {lock.read().strip()}.",
                hint="Use that one, stop it with Ctrl-C, or set RETUNE_HOME to another directory.",
            ) from None
        lock.truncate(0)
        lock.write(ui)
        lock.flush()
        yield


class _StoppedError(Exception):
    """Somebody asked to stop before everything was ready."""


@dataclass
class System:
    """Programs that run together, for as long as `run` does.

    Attributes:
        options: What the command line asks for.
        addresses: Where the programs answer.
        home: Where they keep their files.
        watchdog: Ends them if this process is killed.
        view: Where to report.
        n_stop_requests: How often somebody has asked to stop; the second time means at once.
        verbose: Whether to show what the programs log.
    """

    options: UpOptions
    addresses: Addresses
    home: Path
    watchdog: Watchdog
    view: SystemView
    n_stop_requests: Callable[[], int]
    verbose: bool = False

    def run(self, when_ready: Callable[[], None]) -> None:
        """Start everything, restart what ends, and stop everything on request, the worker first.

        Args:
            when_ready: Called once everything runs.

        Raises:
            ServerError: A program did not start, or ended again and again.
        """
        plan = programs(self.options, self.addresses, self.home)
        with ExitStack() as stack:
            try:
                processes = [self._start(program, stack) for program in plan.servers]
                for process in processes:
                    self._wait(process)
                self._register()
                if plan.worker is not None:
                    worker = self._start(plan.worker, stack)
                    self._wait(worker)
                    processes.append(worker)
                when_ready()
                self._supervise(processes)
            except _StoppedError:
                pass
            self.view.say("Stopping. Press Ctrl-C again to stop immediately.")

    def _supervise(self, processes: Collection[ManagedProcess]) -> None:
        while not self.n_stop_requests():
            for process in processes:
                process.supervise(self.view.say)
                if self.verbose:
                    for line in process.log.new_lines():
                        self.view.say(f"{process.program.name}: {line}")
            time.sleep(_POLL_SECONDS)

    def _start(self, program: Program, stack: ExitStack) -> ManagedProcess:
        process = ManagedProcess(program, self.home / "logs", self.watchdog, self._reschedule)
        # Left in reverse order: the servers end after the worker that needs them.
        stack.callback(lambda: process.stop(lambda: self.n_stop_requests() > 1))
        process.start()
        return process

    def _wait(self, process: ManagedProcess) -> None:
        with self.view.waiting(f"waiting for {process.program.name}"):
            process.wait_until_ready(self._raise_if_stopped)
        self.view.show_ready(process.program.name, process.program.where)

    def _raise_if_stopped(self) -> None:
        if self.n_stop_requests():
            raise _StoppedError

    def _register(self) -> None:
        program = register_program(self.options, self.addresses, self.home)
        process = ManagedProcess(program, self.home / "logs", self.watchdog)
        with self.view.waiting("registering the deployments"):
            lines = process.run_to_end(self._raise_if_stopped)
        for line in lines:
            # In two columns, as they were printed.
            self.view.show_ready(line[:_KIND_WIDTH].strip(), line[_KIND_WIDTH:].strip())

    def _reschedule(self, flow_runs: Collection[str]) -> None:
        """Reschedule flow runs whose processes have ended: Prefect would show them as running for minutes."""
        api = PrefectApi(self.addresses.api, prefect_password(self.home / "prefect"))
        try:
            n_runs = api.reschedule(flow_runs, "Its process ended with `retune up`; the next worker resumes it.")
        except OSError as error:
            self.view.say(f"{len(flow_runs)} running flow runs resume late: Prefect can't be reached ({error}).")
        else:
            if n_runs:
                runs, them = ("run", "it") if n_runs == 1 else ("runs", "them")
                self.view.say(f"{n_runs} {runs} interrupted: the next worker resumes {them}.")
