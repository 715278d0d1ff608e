"""A background process that several commands share and that ends with the last of them.

Two locks in the process's directory carry the protocol; the kernel drops them when a holder dies, however it dies.

* `starting.lock` is held while somebody looks whether the process runs, and starts it if not: two never start at once.
* `users.lock` is held, shared, by every command while it uses the process. The process's standard input is a pipe from
  whoever started it. When that pipe closes, the process waits until it can have `users.lock` for itself, which means
  that nobody uses it any more, and stops. It keeps the lock while it stops, so that a newcomer waits for its end and
  then starts a fresh one.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from retune.errors import ServerError

_POLL_SECONDS = 0.05
_STOP_TIMEOUT_SECONDS = 15.0
_LOG_TAIL_LINES = 5


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """How to find and start a shared process.

    Attributes:
        name: What to call it in messages.
        directory: Its locks and its log are here; made if missing.
        find: Address of a process that serves this directory already, or None. Called again while one starts.
        health_url: Where an address answers 200 once it serves.
        command: Its command line.
        environment: Variables added to this process's own.
        startup_timeout_seconds: How long starting may take.
    """

    name: str
    directory: Path
    find: Callable[[], str | None]
    health_url: Callable[[str], str]
    command: Sequence[str]
    environment: Mapping[str, str]
    startup_timeout_seconds: float = 180.0

    @property
    def log_path(self) -> Path:
        """What the process printed."""
        return self.directory / "output.log"

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
def shared_process(plan: ProcessPlan) -> Iterator[RunningProcess]:
    """Use the process while the block runs, starting it if nobody has.

    Raises:
        ServerError: It can't start, or did not answer in time.
    """
    try:
        plan.directory.mkdir(parents=True, exist_ok=True)
        users = plan.users_lock.open("a")
    except OSError as error:
        raise ServerError(f"{plan.name} can't use the directory {plan.directory}: {error.strerror}.") from None
    with users:
        fcntl.flock(users, fcntl.LOCK_SH)
        child: subprocess.Popen[bytes] | None = None
        try:
            with (plan.directory / "starting.lock").open("a") as starting:
                fcntl.flock(starting, fcntl.LOCK_EX)
                address = plan.find()
                if address is None or not answers(plan.health_url(address)):
                    child = _start(plan)
                    address = _wait_until_healthy(plan, child)
            yield RunningProcess(address=address, started_here=child is not None)
        finally:
            if child:
                _let_go(child, users)


def answers(url: str) -> bool:
    """Whether `url` answers 200 within two seconds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - an address of our own making
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def _start(plan: ProcessPlan) -> subprocess.Popen[bytes]:
    with plan.log_path.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own command line
            [*plan.command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **plan.environment},
            # The terminal's Ctrl-C must reach it only through us, or a run could not end in good order.
            start_new_session=True,
        )


def _wait_until_healthy(plan: ProcessPlan, child: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + plan.startup_timeout_seconds
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise ServerError(
                f"{plan.name} ended while starting (exit status {child.returncode}): {_log_tail(plan.log_path)}",
                hint=f"All that it printed is in {plan.log_path}.",
            )
        address = plan.find()
        if address and answers(plan.health_url(address)):
            return address
        time.sleep(_POLL_SECONDS)
    child.terminate()
    raise ServerError(
        f"{plan.name} did not answer within {plan.startup_timeout_seconds:.0f} s: {_log_tail(plan.log_path)}",
        hint=f"All that it printed is in {plan.log_path}.",
    )


def _log_tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join(line.strip() for line in lines[-_LOG_TAIL_LINES:] if line.strip()) or "it printed nothing"


def _let_go(child: subprocess.Popen[bytes], users: IO[str]) -> None:
    assert child.stdin is not None  # noqa: S101 - it was opened as a pipe
    try:
        # Held until the child has ended, so that a newcomer does not find it half gone.
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        child.stdin.close()
        _left_to_others.append(child)
        return
    child.terminate()
    try:
        child.wait(_STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdin.close()


# Ended by their last user; kept here because a forgotten Popen of a living process is a warning.
_left_to_others: list[subprocess.Popen[bytes]] = []


def stop_when_unused(users_lock: Path) -> None:
    """In the shared process: watch from a thread, and raise SIGTERM here once nobody uses it any more."""

    def watch() -> None:
        while sys.stdin.buffer.read(1 << 16):
            pass
        lock = users_lock.open("a")
        fcntl.flock(lock, fcntl.LOCK_EX)
        _kept_until_the_end.append(lock)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="stop-when-unused", daemon=True).start()


_kept_until_the_end: list[IO[str]] = []
