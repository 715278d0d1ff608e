"""Processes that the server starts from its own modules: how they start, receive their task, and end.

A child reads a line of JSON from standard input, which stays open as long as its parent lives. It writes its results to
standard output; whatever else prints there goes to standard error.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

from retune.server.settings import SECRET_VARIABLES


def start_module(
    module: str,
    *arguments: str,
    stdout: int | IO[bytes],
    stderr: IO[bytes] | None = None,
    defaults: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start a module as a process; its environment holds no secrets.

    Args:
        module: What to run.
        arguments: Its command line.
        stdout: Where its results go.
        stderr: Where everything else goes; None for this process's own.
        defaults: Variables for its environment where this process's has others.
        pass_fds: Descriptors that it inherits.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
    return subprocess.Popen(  # noqa: S603  # our own command line
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        env={**(defaults or {}), **inherited},
        pass_fds=pass_fds,
        # The terminal's Ctrl-C is for the server, which then ends this process itself.
        start_new_session=True,
    )


def send_line(process: "subprocess.Popen[bytes]", line: bytes) -> None:
    """Send a line to a child's standard input."""
    assert process.stdin  # noqa: S101  # a pipe was asked for
    try:
        process.stdin.write(line + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # It died before it could read; its exit status says so.


def describe_exit(status: int) -> str:
    """How a process ended, by its return code, as `Popen` has it."""
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"


def take_standard_output() -> int:
    """In a child: a descriptor for its results; from now on everything else that prints goes to standard error."""
    taken = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return taken


def wait_for_parent_exit() -> None:
    """In a child: return once the parent is gone, however it ended."""
    # Reading the descriptor itself: a buffered reader's lock would be held while the interpreter shuts down.
    while os.read(sys.stdin.fileno(), 4096):
        pass
