"""One process that this one starts: how it starts, becomes ready, and stops."""

import http.client
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import IO, TypeVar

from retune.errors import ServerError

Value = TypeVar("Value")
Process = subprocess.Popen[bytes]

_POLL_SECONDS = 0.05


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of this program."""
    # Not from the current directory: people keep data there, and may have named it as a module is named.
    return [sys.executable, "-P", "-m", module, *arguments]


def own_environment(
    changes: Mapping[str, str | None] | None = None, *, without: Collection[str] = ()
) -> dict[str, str]:
    """This process's environment variables.

    Args:
        changes: Variables with other values; None removes one.
        without: Variables to leave out.
    """
    variables = {name: value for name, value in os.environ.items() if name not in without}
    return {name: value for name, value in {**variables, **(changes or {})}.items() if value is not None}


def start_process(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: int = subprocess.PIPE,
    stdout: int | IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start a process in a session of its own: the terminal's Ctrl-C reaches it only through this process.

    Args:
        command: Its command line.
        environment: All of its variables.
        stdin: By default a pipe, which the process can watch to end with this one; see `death_watch`.
        stdout: Where its output goes; None for this process's own.
        stderr: Where its errors go; None likewise.
        pass_fds: Descriptors that it inherits.

    Raises:
        OSError: It can't be started.
    """
    return subprocess.Popen(  # noqa: S603 - our own command line
        [*command],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def send_line(process: Process, line: bytes) -> None:
    """Send a line to a process's standard input."""
    assert process.stdin  # noqa: S101 - a pipe was asked for
    # It may have ended before it could read; its exit status says so.
    with suppress(BrokenPipeError):
        process.stdin.write(line + b"\n")
        process.stdin.flush()


def has_printed(process: Process, line: bytes) -> bool:
    """Whether the next line of a process's standard output, a pipe, has arrived.

    Raises:
        ServerError: It is another line than `line`.
    """
    assert process.stdout  # noqa: S101 - a pipe was asked for
    readable, _, _ = select.select([process.stdout], [], [], 0)
    printed = process.stdout.readline() if readable else b""
    if printed not in (b"", line):
        raise ServerError(f"A process printed {printed!r} where {line!r} was expected.")
    return printed == line


def take_standard_output() -> int:
    """In a process that reports on standard output: take it, so that whatever else prints goes to standard error.

    Returns:
        The descriptor to report on.
    """
    taken = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return taken


def answers(url: str) -> bool:
    """Whether `url` answers 200 within two seconds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - an address of our own making
            return bool(response.status == 200)
    except (OSError, ValueError, http.client.HTTPException):
        return False


def wait_until_ready(
    process: Process,
    ready: Callable[[], Value],
    *,
    timeout_seconds: float,
    failure: Callable[[str], Exception],
    at_each_poll: Callable[[], None] = lambda: None,
    poll_seconds: float = _POLL_SECONDS,
) -> Value:
    """Wait until a process is ready.

    Args:
        process: It is not stopped here if it takes too long.
        ready: Called again and again, until it returns something true. Called once more after the process has ended:
            it may have found another one that does its work.
        timeout_seconds: How long it may take.
        failure: Makes an exception of what happened, such as "did not start: it exited with status 1".
        at_each_poll: Called while waiting; raises to end the wait.
        poll_seconds: Pause between two calls.

    Returns:
        What `ready` returned.

    Raises:
        Exception: What `failure` made, where the process ended or took too long.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        has_ended = process.poll() is not None
        if value := ready():
            return value
        if has_ended:
            raise failure(f"did not start: it {describe_exit(process.returncode)}")
        at_each_poll()
        if time.monotonic() > deadline:
            raise failure(f"was not ready within {timeout_seconds:g} s")
        time.sleep(poll_seconds)


def stop_processes(
    processes: Collection[Process], *, grace_seconds: float, is_hurried: Callable[[], bool] = lambda: False
) -> list[Process]:
    """Stop processes and their groups by SIGTERM, and by SIGKILL what does not end; close the pipes to them.

    Args:
        processes: Those that `start_process` started; some may have ended.
        grace_seconds: How long they have, all together, between the two signals.
        is_hurried: Whether to send SIGKILL now; asked again and again.

    Returns:
        Those that had not ended when SIGKILL was sent.
    """
    running = [process for process in processes if process.returncode is None]
    for process in running:
        signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while (left := _still_running(running)) and time.monotonic() < deadline and not is_hurried():
        running = left
        time.sleep(_POLL_SECONDS)
    for process in left:
        signal_group(process.pid, signal.SIGKILL)
    for process in left:
        process.wait()
    for process in processes:
        close_pipes(process)
    return left


def _still_running(processes: Collection[Process]) -> list[Process]:
    """Those that have not ended; what the others left in their groups is killed."""
    left = []
    for process in processes:
        if process.poll() is None:
            left.append(process)
        else:
            # At once: later its number may be another's.
            signal_group(process.pid, signal.SIGKILL)
    return left


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group; one that has ended is left alone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def close_pipes(process: Process) -> None:
    """Close this process's ends of the pipes to another one."""
    for pipe in (process.stdin, process.stdout):
        if pipe:
            # Where the process ended before it had read everything.
            with suppress(BrokenPipeError):
                pipe.close()


def describe_exit(status: int) -> str:
    """How a process ended, by its return code, as `Popen` has it."""
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
