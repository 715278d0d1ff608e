"""What takes seconds to start, each in a thread of its own; Prefect's server takes longest and is started first."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

from retune.local.prefect_server import keep_prefect_to_itself, own_home, prefect_server

Value = TypeVar("Value")


class SideBySide:
    """Enters context managers in threads, and leaves all of them at the end of the block, in threads again.

    Attributes:
        stopping: Set when the block ends by an exception: what is still starting then need not be waited for.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._pool = ThreadPoolExecutor()
        self._entered: dict[AbstractContextManager[Any], Future[Any]] = {}
        self.prefect: Future[str] | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def enter(self, manager: AbstractContextManager[Value]) -> Future[Value]:
        """Enter a context manager in a thread."""
        future = self._pool.submit(manager.__enter__)
        self._entered[manager] = future
        return future

    def wait(self) -> None:
        """Return when each has been entered, or could not be."""
        wait(self._entered.values())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave all that were entered; a start that is under way is ended first where there was an exception."""
        if error is not None:
            self.stopping.set()
        self._pool.shutdown(wait=True)
        entered = [manager for manager, future in self._entered.items() if future.exception() is None]
        with ThreadPoolExecutor() as pool:
            leaving = [pool.submit(manager.__exit__, kind, error, trace) for manager in reversed(entered)]
        for future in leaving:
            future.result()


def start_prefect(starting: SideBySide, say: Callable[[str], None]) -> Future[str]:
    """Start Prefect's server, or find it; a second time gives the same one."""
    if starting.prefect is None:
        keep_prefect_to_itself()
        starting.prefect = starting.enter(prefect_server(say, starting.stopping))
    return starting.prefect


def start_prefect_early(starting: SideBySide, say: Callable[[str], None]) -> None:
    """Start Prefect's server where it has run before: a run that is refused after that leaves nothing new behind."""
    keep_prefect_to_itself()
    if (own_home() / "prefect.db").exists():
        start_prefect(starting, say)
