"""A background process that several commands share and that ends with the last of them.

Two locks in the process's directory carry the protocol; the kernel drops them when a holder dies, however it dies.

* `starting.lock` is held while a command checks whether the process runs, and starts it if not: no two start at once.
* `users.lock` is held, shared, by every command while it uses the process. The process's standard input is a pipe from
  whoever started it. When that pipe closes, the process waits until it can have `users.lock` for itself, which means
  that nobody uses it any more, and stops. It keeps the lock while it stops, so that a newcomer waits for its end and
  then starts a fresh one.

A command that uses it for long can have it kept: if it ends meanwhile, it is started again at the same address, under
`starting.lock`, so that one of several users does it.
"""

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from retune.errors import ServerError
from retune.private_files import make_private_directory, private_opener
from retune.processes.death_watch import when_parent_exits
from retune.processes.logs import ProcessLog
from retune.processes.process import Process, own_environment, start_process, stop_processes, wait_until_ready

_STOP_TIMEOUT_SECONDS = 15.0
_POLL_SECONDS = 1.0
_MISSES_OF_OTHERS = 5
_MOST_RESTARTS = 5


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """How to find and start a shared process.

    Attributes:
        name: What to call it in messages.
        directory: Its locks are here; made if missing.
        log: What it prints is appended here.
        find: Address of a process that serves this directory and answers, or None. Called again while one starts.
        command: Its command line.
        environment: Variables that differ from this process's own; None takes one away.
        startup_timeout_seconds: How long starting may take.
        command_again: Its command line for a restart at the address that it had.
        is_kept_elsewhere: Whether another program started it and restarts it; two would compete for the address.
    """

    name: str
    directory: Path
    log: Path
    find: Callable[[], str | None]
    command: Sequence[str]
    environment: Mapping[str, str | None]
    startup_timeout_seconds: float = 180.0
    command_again: Callable[[str], Sequence[str]] | None = None
    is_kept_elsewhere: Callable[[], bool] = lambda: False

    @property
    def users_lock(self) -> Path:
        """See the module's docstring."""
        return self.directory / "users.lock"


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A process that answers.

    Attributes:
        address: As `ProcessPlan.find` gave it.
        started_here: This command started it; otherwise it was running.
    """

    address: str
    started_here: bool


@contextmanager
def shared_process(
    plan: ProcessPlan, say: Callable[[str], None] | None = None, stopping: threading.Event | None = None
) -> Iterator[RunningProcess]:
    """Use the process while the block runs, starting it if nobody has.

    Args:
        plan: How to find and start it.
        say: Where this is given, the process is started again if it ends while the block runs. Called from another
            thread with what happened.
        stopping: Set from another thread, it ends the wait for a process that is still starting.

    Raises:
        ServerError: It can't start, did not answer in time, or `stopping` was set before it did.
    """
    try:
        make_private_directory(plan.directory)
        users = _open_privately(plan.users_lock)
    except OSError as error:
        raise ServerError(f"{plan.name} can't use the directory {plan.directory}: {error.strerror}.") from None
    with users:
        fcntl.flock(users, fcntl.LOCK_SH)
        children: list[Process] = []
        try:
            with _starting(plan):
                address = plan.find()
                if address is None:
                    address = _start(plan, plan.command, children, stopping)
            with _restarted(plan, address, children, say) if say else nullcontext():
                yield RunningProcess(address=address, started_here=bool(children))
        finally:
            for child in children:
                _let_go(child, users)


def _open_privately(path: Path) -> IO[str]:
    """Open a file to append to, which others on this machine may not read."""
    return open(path, "a", encoding="utf-8", opener=private_opener)


@contextmanager
def _starting(plan: ProcessPlan) -> Iterator[None]:
    with _open_privately(plan.directory / "starting.lock") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        yield


@contextmanager
def _restarted(plan: ProcessPlan, address: str, children: list[Process], say: Callable[[str], None]) -> Iterator[None]:
    """Restart the process whenever it has ended, while the block runs; each new one is added to `children`."""
    stopping = threading.Event()

    def watch() -> None:
        misses = restarts = 0
        while not stopping.wait(_POLL_SECONDS):
            is_ours = bool(children) and children[-1].poll() is None
            misses = 0 if is_ours or plan.find() else misses + 1
            # Our own process has surely ended; that of somebody else may be busy.
            if misses == 0 or (not children and (misses < _MISSES_OF_OTHERS or plan.is_kept_elsewhere())):
                continue
            if restarts == _MOST_RESTARTS:
                say(f"{plan.name} has ended {restarts + 1} times and is not restarted; see {plan.log}.")
                return
            restarts += 1
            say(f"{plan.name} has ended unexpectedly; restarting it.")
            try:
                _restart(plan, address, children, stopping)
            except (ServerError, OSError) as error:
                if not stopping.is_set():
                    say(f"{plan.name} could not be restarted: {error}")
            else:
                say(f"{plan.name} is back.")

    thread = threading.Thread(target=watch, name=f"watch {plan.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _restart(plan: ProcessPlan, address: str, children: list[Process], stopping: threading.Event) -> None:
    with _starting(plan):
        if plan.find() is None and not stopping.is_set():
            command = plan.command_again(address) if plan.command_again else plan.command
            _start(plan, command, children, stopping)


def _start(plan: ProcessPlan, command: Sequence[str], children: list[Process], stopping: threading.Event | None) -> str:
    """Start the process, add it to `children`, and wait for its address."""
    log = ProcessLog(plan.log)
    with log.open() as stream:
        child = start_process(command, environment=own_environment(plan.environment), stdout=stream, stderr=stream)
    children.append(child)

    def check() -> None:
        if stopping and stopping.is_set():
            raise ServerError(f"{plan.name} is not needed any more.")

    return wait_until_ready(
        child,
        lambda: plan.find() or "",
        timeout_seconds=plan.startup_timeout_seconds,
        failure=lambda what: log.failure(f"{plan.name} {what}"),
        at_each_poll=check,
    )


def _let_go(child: Process, users: IO[str]) -> None:
    assert child.stdin is not None  # noqa: S101 - it was opened as a pipe
    try:
        # Held until the child has ended, so that a newcomer does not find it half gone.
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        child.stdin.close()
        # Its other users end it; whoever forgets a Popen before then is warned, and leaves a zombie.
        threading.Thread(target=child.wait, name=f"wait for {child.pid}", daemon=True).start()
        return
    stop_processes([child], grace_seconds=_STOP_TIMEOUT_SECONDS)


def stop_when_unused(users_lock: Path) -> None:
    """In the shared process: raise SIGTERM once its starter has gone and nobody else uses it."""

    def stop() -> None:
        lock = _open_privately(users_lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        _kept_until_the_end.append(lock)
        os.kill(os.getpid(), signal.SIGTERM)

    when_parent_exits(stop)


_kept_until_the_end: list[IO[str]] = []
