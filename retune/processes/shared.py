"""A background process that several commands share and that ends with the last of them.

Two locks in the process's directory carry the protocol; the kernel drops them when a holder dies, however it dies.

* `starting.lock` is held while somebody looks whether the process runs, and starts it if not: two never start at once.
* `users.lock` is held, shared, by every command while it uses the process. The process's standard input is a pipe from
  whoever started it. When that pipe closes, the process waits until it can have `users.lock` for itself, which means
  that nobody uses it any more, and stops. It keeps the lock while it stops, so that a newcomer waits for its end and
  then starts a fresh one.

Who uses it for long can have it kept: if it ends meanwhile, it is started again at the same address, under
`starting.lock`, so that of several users one does it.
"""

import fcntl
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from retune.errors import ServerError
from retune.private_files import make_private_directory, private_opener

_POLL_SECONDS = 0.05
_STOP_TIMEOUT_SECONDS = 15.0
_SECONDS_BETWEEN_LOOKS = 1.0
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
        command_again: Its command line for another start at the address that it had.
        is_kept_elsewhere: Whether another program starts it again where that one started it; two would fight for the
            address.
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
        say: Where this is given, the process is started again if it ends while the block runs, and `say` is told, in a
            thread of its own.
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
        children: list[subprocess.Popen[bytes]] = []
        try:
            with _starting(plan):
                address = plan.find()
                if address is None:
                    children.append(_start(plan, plan.command))
                    address = _wait_until_it_answers(plan, children[0], stopping)
            with _kept(plan, address, children, say) if say else nullcontext():
                yield RunningProcess(address=address, started_here=bool(children))
        finally:
            for child in children:
                _let_go(child, users)


def answers(url: str) -> bool:
    """Whether `url` answers 200 within two seconds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - an address of our own making
            return bool(response.status == 200)
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _open_privately(path: Path) -> IO[str]:
    """Open a file to append to, which others on this machine may not read."""
    return open(path, "a", encoding="utf-8", opener=private_opener)


@contextmanager
def _starting(plan: ProcessPlan) -> Iterator[None]:
    with _open_privately(plan.directory / "starting.lock") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        yield


@contextmanager
def _kept(
    plan: ProcessPlan, address: str, children: list[subprocess.Popen[bytes]], say: Callable[[str], None]
) -> Iterator[None]:
    """Start the process again whenever it has ended, for as long as the block runs; `children` gets each new one."""
    stopping = threading.Event()

    def keep() -> None:
        misses = restarts = 0
        while not stopping.wait(_SECONDS_BETWEEN_LOOKS):
            is_ours = bool(children) and children[-1].poll() is None
            misses = 0 if is_ours or plan.find() else misses + 1
            # Our own process has surely ended; that of somebody else may be busy.
            if misses == 0 or (not children and (misses < _MISSES_OF_OTHERS or plan.is_kept_elsewhere())):
                continue
            if restarts == _MOST_RESTARTS:
                say(f"{plan.name} has ended {restarts + 1} times and is not started again; see {plan.log}.")
                return
            restarts += 1
            say(f"{plan.name} has ended, though it is needed; starting it again.")
            try:
                _start_again(plan, address, children, stopping)
            except (ServerError, OSError) as error:
                if not stopping.is_set():
                    say(f"{plan.name} could not be started again: {error}")
            else:
                say(f"{plan.name} is back.")

    keeper = threading.Thread(target=keep, name=f"keep {plan.name}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stopping.set()
        keeper.join()


def _start_again(
    plan: ProcessPlan, address: str, children: list[subprocess.Popen[bytes]], stopping: threading.Event
) -> None:
    with _starting(plan):
        if plan.find() is None and not stopping.is_set():
            children.append(_start(plan, plan.command_again(address) if plan.command_again else plan.command))
            _wait_until_it_answers(plan, children[-1], stopping)


def _start(plan: ProcessPlan, command: Sequence[str]) -> subprocess.Popen[bytes]:
    variables = {**os.environ, **plan.environment}
    with _open_privately(plan.log) as log:
        return subprocess.Popen(  # noqa: S603 - our own command line
            [*command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={name: value for name, value in variables.items() if value is not None},
            # The terminal's Ctrl-C must reach it only through us, or a run could not end in good order.
            start_new_session=True,
        )


def _wait_until_it_answers(
    plan: ProcessPlan, child: subprocess.Popen[bytes], stopping: threading.Event | None = None
) -> str:
    deadline = time.monotonic() + plan.startup_timeout_seconds
    while time.monotonic() < deadline and not (stopping and stopping.is_set()):
        has_ended = child.poll() is not None
        # Asked after it has ended, too: it may have found that somebody else's process serves the directory.
        if address := plan.find():
            return address
        if has_ended:
            raise _failed(plan, f"{plan.name} did not start (exit status {child.returncode})")
        time.sleep(_POLL_SECONDS)
    if stopping and stopping.is_set():
        raise ServerError(f"{plan.name} is not needed any more.")
    raise _failed(plan, f"{plan.name} did not answer within {plan.startup_timeout_seconds:g} s")


def _failed(plan: ProcessPlan, what: str) -> ServerError:
    lines = [line.strip() for line in plan.log.read_text(encoding="utf-8", errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "it printed nothing")
    return ServerError(f"{what}: {last}", hint=f"All that it printed is in {plan.log}.")


def _let_go(child: subprocess.Popen[bytes], users: IO[str]) -> None:
    assert child.stdin is not None  # noqa: S101 - it was opened as a pipe
    try:
        # Held until the child has ended, so that a newcomer does not find it half gone.
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        child.stdin.close()
        # Its other users end it; whoever forgets a Popen before then is warned, and leaves a zombie.
        threading.Thread(target=child.wait, name=f"wait for {child.pid}", daemon=True).start()
        return
    child.terminate()
    try:
        child.wait(_STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdin.close()


def stop_when_unused(users_lock: Path) -> None:
    """In the shared process: watch from a thread, and raise SIGTERM here once nobody uses it any more."""

    def watch() -> None:
        while sys.stdin.buffer.read(1 << 16):
            pass
        lock = _open_privately(users_lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        _kept_until_the_end.append(lock)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="stop-when-unused", daemon=True).start()


_kept_until_the_end: list[IO[str]] = []
