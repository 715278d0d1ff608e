"""A way into long work from outside: whoever waits for it may end it, or have it wait for others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_check: ContextVar[Callable[[], None] | None] = ContextVar("interruption_check", default=None)


class InterruptedWorkError(BaseException):
    """Nobody waits for the work any more. Like asyncio's cancellation, it passes by those who catch all errors."""


def checkpoint() -> None:
    """Say that work can be ended or held up here. Long work calls it every few milliseconds, and holds no lock then.

    Raises:
        InterruptedWorkError: Nobody waits for the work any more.
    """
    check = _check.get()
    if check is not None:
        check()


@contextmanager
def interruptible(check: Callable[[], None]) -> Iterator[None]:
    """Have `check` called at each checkpoint of this thread while the block runs; it may wait, or raise."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)
