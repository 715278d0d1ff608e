"""The threads that models compute in: few at a time, and none of those that the rest of the API answers from."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import Event
from typing import Final, TypeVar

from starlette.requests import ClientDisconnect

from retune.server.api.exchange import current_exchange
from retune.server.chat.fair_slots import MOST_BEGUN, Turn
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
    exchange, loop = current_exchange.get(), asyncio.get_running_loop()
    granted, is_unwanted = loop.create_future(), Event()
    turn = services.model_slots.ask(exchange.caller, partial(_grant, loop, granted))
    left = asyncio.create_task(exchange.client_left())
    try:
        try:
            await _first_of(granted, left)
        except BaseException:
            services.model_slots.give_up(turn)
            raise
        answer = loop.run_in_executor(_threads, copy_context().run, _compute, work, body, services, turn, is_unwanted)
        # Its exception is nobody's business once the client has left; asyncio would log it.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        await _first_of(answer, left)
        return answer.result()
    finally:
        is_unwanted.set()
        left.cancel()


async def _first_of(wanted: "asyncio.Future[_Result]", left: "asyncio.Task[None]") -> None:
    await asyncio.wait((wanted, left), return_when=asyncio.FIRST_COMPLETED)
    if not wanted.done():
        raise ClientDisconnect


def _grant(loop: asyncio.AbstractEventLoop, granted: "asyncio.Future[None]") -> None:
    def grant() -> None:
        if not granted.done():
            granted.set_result(None)

    loop.call_soon_threadsafe(grant)


def _compute(
    work: Callable[[_Body, Services], _Result], body: _Body, services: Services, turn: Turn, is_unwanted: Event
) -> _Result:
    def refuse() -> None:
        if is_unwanted.is_set():
            raise InterruptedWorkError

    with services.model_slots.taking_turns(turn, refuse) as check, interruptible(check):
        return work(body, services)
