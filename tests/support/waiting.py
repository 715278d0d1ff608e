"""The one way in which tests wait: until a condition holds, or a process ends that was to make it hold.

Deadlines only end a test that hangs, so they are far longer than anything takes on a busy machine.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

DEADLINE_SECONDS = 240
_PAUSE_SECONDS = 0.05

Found = TypeVar("Found")


class WatchedProcess(Protocol):
    """What a wait needs of a process: `subprocess.Popen`, or what behaves like it."""

    def poll(self) -> int | None: ...

    def communicate(self) -> tuple[Any, Any]: ...


def wait_for(
    condition: Callable[[], Found | Literal[False] | None],
    what: str,
    *,
    seconds: float = DEADLINE_SECONDS,
    pause_seconds: float = _PAUSE_SECONDS,
    process: WatchedProcess | None = None,
    log: Path | None = None,
) -> Found:
    """Wait until `condition` gives something, and return that.

    Args:
        condition: What is tried again and again.
        what: What is waited for, for the message of the error.
        seconds: When to give up.
        pause_seconds: How long to wait between two tries.
        process: The wait fails as soon as this process has ended.
        log: The file that the process writes to, where its output is not in a pipe.
    """
    for _ in _tries(what, seconds, process, log):
        if found := condition():
            return found
        time.sleep(pause_seconds)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


async def wait_for_async(
    condition: Callable[[], Awaitable[Found | Literal[False] | None]],
    what: str,
    *,
    seconds: float = DEADLINE_SECONDS,
    pause_seconds: float = _PAUSE_SECONDS,
) -> Found:
    """Like `wait_for`, of a condition that is awaited."""
    for _ in _tries(what, seconds):
        if found := await condition():
            return found
        await asyncio.sleep(pause_seconds)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def _tries(what: str, seconds: float, process: WatchedProcess | None = None, log: Path | None = None) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        # Before the try: what a process did last before its end still counts.
        has_ended = process is not None and process.poll() is not None
        yield
        if process is not None and has_ended:
            output = log.read_text(errors="replace") if log else process.communicate()
            raise AssertionError(f"waited for {what}, but the process ended with {process.poll()}: {output}")
