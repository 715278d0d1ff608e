"""Slots to compute in, shared fairly: callers take turns of a tenth of a second."""

import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from retune.server.errors import ApiError

MAX_WAITING_PER_CALLER: Final = 1000
MAX_WAITING: Final = 4000
# Each started turn occupies a thread, even while other callers have the slot.
MAX_STARTED_PER_CALLER: Final = 8
MAX_STARTED: Final = 64


@dataclass(slots=True, eq=False)
class Turn:
    """A wait for a slot, and then the slot.

    Attributes:
        caller: Who requested it.
        on_granted: Called once it has the slot; from any thread, and must not block.
        has_started: It had a slot before.
        is_granted: It has the slot now.
        number: The order in which turns were requested.
    """

    caller: str
    on_granted: "Callable[[Turn], object]"
    has_started: bool = False
    is_granted: bool = False
    number: int = 0


@dataclass(slots=True)
class _Queue:
    """The turns that a caller waits for: those that have started, and the others."""

    started: deque[Turn] = field(default_factory=deque)
    fresh: deque[Turn] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self.started) + len(self.fresh)

    def pop(self, *, may_start: bool) -> Turn | None:
        heads = [turns for turns in (self.started, self.fresh if may_start else ()) if turns]
        return min(heads, key=lambda turns: turns[0].number).popleft() if heads else None


class FairSlots:
    """A fixed number of slots, granted to callers in turn: one caller's requests don't delay another's.

    Args:
        count: How many slots there are.
        turn_seconds: How long a caller has a slot before it yields to others.
        max_waiting: Most requests that wait.
        max_waiting_per_caller: Most requests of one caller that wait.
        max_started_per_caller: Most requests of one caller that have started.
    """

    def __init__(
        self,
        count: int,
        *,
        turn_seconds: float = 0.1,
        max_waiting: int = MAX_WAITING,
        max_waiting_per_caller: int = MAX_WAITING_PER_CALLER,
        max_started_per_caller: int = MAX_STARTED_PER_CALLER,
    ) -> None:
        self._changed = threading.Condition()
        self._free = count
        self._count = count
        self._turn_seconds = turn_seconds
        self._max_waiting = max_waiting
        self._max_waiting_per_caller = max_waiting_per_caller
        self._max_started_per_caller = max_started_per_caller
        self._queues: OrderedDict[str, _Queue] = OrderedDict()
        self._started: dict[str, int] = {}
        self._numbers = itertools.count()

    def request(self, caller: str, on_granted: Callable[[Turn], object]) -> Turn:
        """Request a slot.

        Raises:
            ApiError: 429: the caller has too many requests waiting; 503: all callers together have.
        """
        turn = Turn(caller, on_granted)
        with self._changed:
            self._refuse_too_many(caller)
            self._enqueue(turn)
            self._grant_free_slots()
        return turn

    def withdraw(self, turn: Turn) -> None:
        """Cancel a request for a slot; does nothing once the slot was granted."""
        with self._changed:
            queue = self._queues.get(turn.caller)
            if queue and not turn.has_started:
                queue.fresh.remove(turn)
                if not queue:
                    del self._queues[turn.caller]

    def release(self, turn: Turn) -> None:
        """Release a slot."""
        with self._changed:
            turn.is_granted = False
            self._free += 1
            self._count_started(turn.caller, -1)
            self._grant_free_slots()
            self._changed.notify_all()

    @contextmanager
    def time_sliced(self, turn: Turn, refuse: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """Use a slot while the block runs, and yield it to other callers in between.

        Args:
            turn: It has its slot.
            refuse: Called at every checkpoint; raises if the work is no longer wanted.

        Yields:
            What the work must call at its checkpoints; it may block.
        """
        since = time.monotonic()

        def check() -> None:
            nonlocal since
            refuse()
            if time.monotonic() - since >= self._turn_seconds:
                self._yield_slot(turn)
                since = time.monotonic()
                refuse()

        try:
            yield check
        finally:
            self.release(turn)

    def yield_to_others(self, seconds: float) -> None:
        """Wait until no slot is requested or used, at most `seconds`: for work of the lowest priority."""
        with self._changed:
            self._changed.wait_for(lambda: self._free == self._count, timeout=seconds)

    def _yield_slot(self, turn: Turn) -> None:
        with self._changed:
            if not self._queues:
                return
            again = threading.Event()
            turn.on_granted, turn.is_granted = lambda _: again.set(), False
            self._free += 1
            self._enqueue(turn)
            self._grant_free_slots()
        again.wait()

    def _refuse_too_many(self, caller: str) -> None:
        waiting = len(self._queues.get(caller, ()))
        headers = {"retry-after": "1"}
        if waiting >= self._max_waiting_per_caller:
            message = f"Rate limit reached: {waiting} of your requests wait for an answer already. Try again in 1s."
            code = "rate_limit_exceeded"
            raise ApiError(429, message, type="requests", code=code, headers=headers, retryable=True)
        if sum(map(len, self._queues.values())) >= self._max_waiting:
            message = f"{self._max_waiting} requests wait for an answer, as many as the server takes. Try again in 1s."
            raise ApiError(503, message, type="server_error", code="overloaded", headers=headers, retryable=True)

    def _enqueue(self, turn: Turn) -> None:
        turn.number = next(self._numbers)
        queue = self._queues.setdefault(turn.caller, _Queue())
        (queue.started if turn.has_started else queue.fresh).append(turn)

    def _grant_free_slots(self) -> None:
        while self._free and (turn := self._next()):
            self._free -= 1
            if not turn.has_started:
                turn.has_started = True
                self._count_started(turn.caller, 1)
            turn.is_granted = True
            turn.on_granted(turn)

    def _next(self) -> Turn | None:
        n_started = sum(self._started.values())
        for caller, queue in self._queues.items():
            may_start = n_started < MAX_STARTED and self._started.get(caller, 0) < self._max_started_per_caller
            if turn := queue.pop(may_start=may_start):
                self._queues.move_to_end(caller)
                if not queue:
                    del self._queues[caller]
                return turn
        return None

    def _count_started(self, caller: str, change: int) -> None:
        self._started[caller] = self._started.get(caller, 0) + change
        if not self._started[caller]:
            del self._started[caller]
