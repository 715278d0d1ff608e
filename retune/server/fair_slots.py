"""Slots to compute in, shared out fairly: callers have them in turn, each for a moment at a time."""

import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from retune.server.errors import ApiError

MOST_WAITING_OF_ONE: Final = 1000
MOST_WAITING: Final = 4000
# Those that have begun hold a thread each, while others have their turn too.
_MOST_BEGUN_OF_ONE = 8
MOST_BEGUN: Final = 64
_TURN_SECONDS = 0.1


@dataclass(slots=True, eq=False)
class Turn:
    """A wait for a slot, and then the slot.

    Attributes:
        caller: Whose it is.
        on_granted: Called once it has the slot; by any thread, and never waits.
        has_begun: It had a slot before.
        is_granted: It has the slot now.
        number: The order in which turns were asked for.
    """

    caller: str
    on_granted: "Callable[[Turn], object]"
    has_begun: bool = False
    is_granted: bool = False
    number: int = 0


@dataclass(slots=True)
class _Queue:
    """The turns that a caller waits for: those that have begun, and the others."""

    begun: deque[Turn] = field(default_factory=deque)
    fresh: deque[Turn] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self.begun) + len(self.fresh)

    def pop(self, *, may_begin: bool) -> Turn | None:
        heads = [turns for turns in (self.begun, self.fresh if may_begin else ()) if turns]
        return min(heads, key=lambda turns: turns[0].number).popleft() if heads else None


class FairSlots:
    """So many slots; whoever wants one waits behind as few as possible of each other caller's.

    Args:
        count: How many slots there are.
    """

    def __init__(self, count: int) -> None:
        self._changed = threading.Condition()
        self._free = count
        self._count = count
        self._queues: OrderedDict[str, _Queue] = OrderedDict()
        self._begun: dict[str, int] = {}
        self._numbers = itertools.count()

    def ask(self, caller: str, on_granted: Callable[[Turn], object]) -> Turn:
        """Ask for a slot.

        Raises:
            ApiError: 429: the caller waits for too many already; 503: all callers together do.
        """
        turn = Turn(caller, on_granted)
        with self._changed:
            self._refuse_too_many(caller)
            self._wait_in_line(turn)
            self._share_out()
        return turn

    def leave_line(self, turn: Turn) -> None:
        """Wait no longer for a first slot; nothing where it came already."""
        with self._changed:
            queue = self._queues.get(turn.caller)
            if queue and not turn.has_begun:
                queue.fresh.remove(turn)
                if not queue:
                    del self._queues[turn.caller]

    def give_back(self, turn: Turn) -> None:
        """Give a slot back that is needed no more."""
        with self._changed:
            turn.is_granted = False
            self._free += 1
            self._count_begun(turn.caller, -1)
            self._share_out()
            self._changed.notify_all()

    @contextmanager
    def taking_turns(self, turn: Turn, refuse: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """Use a slot while the block runs, and let others have it in between.

        Args:
            turn: It has its slot.
            refuse: Called at every checkpoint; raises where the work is of no use any more.

        Yields:
            What the work is to call at its checkpoints; it may wait.
        """
        since = time.monotonic()

        def check() -> None:
            nonlocal since
            refuse()
            if time.monotonic() - since >= _TURN_SECONDS:
                self._let_others(turn)
                since = time.monotonic()
                refuse()

        try:
            yield check
        finally:
            self.give_back(turn)

    def give_way(self, seconds: float) -> None:
        """Wait while any slot is wanted or used, and at most so long: for work that comes behind all other."""
        with self._changed:
            self._changed.wait_for(lambda: self._free == self._count, timeout=seconds)

    def _let_others(self, turn: Turn) -> None:
        with self._changed:
            if not self._queues:
                return
            again = threading.Event()
            turn.on_granted, turn.is_granted = lambda _: again.set(), False
            self._free += 1
            self._wait_in_line(turn)
            self._share_out()
        again.wait()

    def _refuse_too_many(self, caller: str) -> None:
        waiting = len(self._queues.get(caller, ()))
        headers = {"retry-after": "1"}
        if waiting >= MOST_WAITING_OF_ONE:
            message = f"Rate limit reached: {waiting} of your requests wait for an answer already. Try again in 1s."
            code = "rate_limit_exceeded"
            raise ApiError(429, message, type="requests", code=code, headers=headers, retryable=True)
        if sum(map(len, self._queues.values())) >= MOST_WAITING:
            message = f"{MOST_WAITING} requests wait for an answer, as many as the server takes. Try again in 1s."
            raise ApiError(503, message, type="server_error", code="overloaded", headers=headers, retryable=True)

    def _wait_in_line(self, turn: Turn) -> None:
        turn.number = next(self._numbers)
        queue = self._queues.setdefault(turn.caller, _Queue())
        (queue.begun if turn.has_begun else queue.fresh).append(turn)

    def _share_out(self) -> None:
        while self._free and (turn := self._next()):
            self._free -= 1
            if not turn.has_begun:
                turn.has_begun = True
                self._count_begun(turn.caller, 1)
            turn.is_granted = True
            turn.on_granted(turn)

    def _next(self) -> Turn | None:
        all_begun = sum(self._begun.values())
        for caller, queue in self._queues.items():
            may_begin = all_begun < MOST_BEGUN and self._begun.get(caller, 0) < _MOST_BEGUN_OF_ONE
            if turn := queue.pop(may_begin=may_begin):
                self._queues.move_to_end(caller)
                if not queue:
                    del self._queues[caller]
                return turn
        return None

    def _count_begun(self, caller: str, change: int) -> None:
        self._begun[caller] = self._begun.get(caller, 0) + change
        if not self._begun[caller]:
            del self._begun[caller]
