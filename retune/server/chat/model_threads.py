"""The threads that models compute in: few at a time, and none of those that the rest of the API answers from."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Final, TypeVar

from starlette.requests import ClientDisconnect

from retune.server.api.exchange import current_exchange
from retune.server.chat.fair_slots import MOST_BEGUN, FairSlots, Turn
from retune.server.services import Services
from retune.trainers.interruption import InterruptedWorkError, interruptible

# Most of them wait for their next turn; see `FairSlots`.
_threads: Final = ThreadPoolExecutor(MOST_BEGUN, thread_name_prefix="model")

_Body = TypeVar("_Body")
_Result = TypeVar("_Result")


async def in_model_thread(work: Callable[[_Body, Services], _Result], body: _Body, services: Services) -> _Result:
    """Run `work` in one of the threads, once it is the caller's turn; it ends at a checkpoint when the client leaves.

    Raises:
        ApiError: 429, 503: too many wait.
        ClientDisconnect: The client has left.
    """
    exchange = current_exchange.get()
    answer: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
    is_unwanted = threading.Event()
    context = copy_context()

    def compute(turn: Turn) -> None:
        context.run(_compute, partial(work, body, services), services.model_slots, turn, is_unwanted, answer)

    turn = services.model_slots.ask(exchange.caller, lambda turn: _begin(partial(compute, turn)))
    left = asyncio.create_task(exchange.client_left())
    try:
        await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        is_unwanted.set()
        services.model_slots.leave_line(turn)
        left.cancel()


class _OfThread(threading.local):
    """What one of the threads knows: whether it has just ended its work, and what it does next."""

    is_free = False
    following: Callable[[], None] | None = None


_of_thread: Final = _OfThread()


def _begin(compute: Callable[[], None]) -> None:
    """Compute with a slot that was granted here: in this thread if it gives the slot away at its end."""
    if _of_thread.is_free:
        _of_thread.is_free, _of_thread.following = False, compute
    else:
        _threads.submit(_compute_all, compute)


def _compute_all(compute: Callable[[], None]) -> None:
    following: Callable[[], None] | None = compute
    while following:
        _of_thread.following = None
        following()
        _of_thread.is_free, following = False, _of_thread.following


def _compute(
    work: Callable[[], _Result],
    slots: FairSlots,
    turn: Turn,
    is_unwanted: threading.Event,
    answer: "asyncio.Future[_Result]",
) -> None:
    def refuse() -> None:
        if is_unwanted.is_set():
            raise InterruptedWorkError

    try:
        with slots.taking_turns(turn, refuse) as check, interruptible(check):
            result = work()
            _of_thread.is_free = True
    except InterruptedWorkError:
        return  # Nobody waits for it.
    except Exception as error:  # noqa: BLE001  # it is raised where the work is waited for
        answer.get_loop().call_soon_threadsafe(_deliver, answer, partial(answer.set_exception, error))
    else:
        answer.get_loop().call_soon_threadsafe(_deliver, answer, partial(answer.set_result, result))


def _deliver(answer: "asyncio.Future[_Result]", deliver: Callable[[], None]) -> None:
    # Once its client has left, an error would be logged as one that nobody has looked at.
    if not answer.done():
        deliver()
