"""The model that a request names: found, of the right kind, loaded, and run in a thread of its own pool.

Few threads compute at a time, and none of those that answer the rest of the API.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Final, TypeVar

from starlette.requests import ClientDisconnect

from retune.errors import TrainerError
from retune.server.api.request_context import current_request
from retune.server.errors import ApiError
from retune.server.fair_slots import MAX_STARTED, FairSlots, Turn
from retune.server.loaded_models import Model
from retune.server.models import find_model
from retune.server.services import Services
from retune.trainers.base import LanguageModel
from retune.trainers.interruption import InterruptedWorkError, interruptible

_log = logging.getLogger(__name__)
# As recorded of the service.
_NO_CHAT_MODEL = (
    "This is not a chat model and thus not supported in the v1/chat/completions endpoint. "
    "Did you mean to use v1/completions?"
)
_NO_COMPLETION_MODEL = (
    "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use v1/chat/completions?"
)
# Most of them wait for their next turn; see `FairSlots`.
_threads: Final = ThreadPoolExecutor(MAX_STARTED, thread_name_prefix="model")
_Body = TypeVar("_Body")
_Result = TypeVar("_Result")


def chat_model(services: Services, name: str) -> LanguageModel:
    """A model that answers conversations.

    Raises:
        ApiError: 404: there is no such model, or it completes prompts; 500: its checkpoint can't be read.
    """
    return _model(services, name, completes_prompts=False)


def completion_model(services: Services, name: str) -> LanguageModel:
    """A model that completes prompts.

    Raises:
        ApiError: 404: there is no such model, or it chats; 500: its checkpoint can't be read.
    """
    return _model(services, name, completes_prompts=True)


def _model(services: Services, name: str, *, completes_prompts: bool) -> LanguageModel:
    model = services.loaded_models.find_cached(name, services.directory.path) or _look_up(services, name)
    if model is None:
        raise _no_such_model(name)
    if (model.base_model in services.trainer.completion_models) != completes_prompts:
        raise ApiError(404, _NO_COMPLETION_MODEL if completes_prompts else _NO_CHAT_MODEL, param="model")
    directory = services.directory.path / model.directory if model.directory else None
    try:
        return services.loaded_models.get(directory)
    except TrainerError as error:
        if _look_up(services, name) is None:  # deleted meanwhile
            raise _no_such_model(name) from error
        _log.exception("The model %s can't be loaded", name)
        message = f"The model `{name}` can't be loaded: {error}"
        raise ApiError(500, message, type="server_error", code="model_not_loadable") from error


def _look_up(services: Services, name: str) -> Model | None:
    # PostgreSQL takes no NUL in a text, and no model has one in its name.
    if "\0" in name:
        return None
    with services.database.read() as session:
        model = find_model(session, services.trainer, name)
    if model is not None:
        services.loaded_models.cache(model)
    return model


def _no_such_model(name: str) -> ApiError:
    message = f"The model `{name}` does not exist or you do not have access to it."
    return ApiError(404, message, code="model_not_found")


async def in_model_thread(work: Callable[[_Body, Services], _Result], body: _Body, services: Services) -> _Result:
    """Run `work` in one of the threads, once it is the caller's turn; it ends at a checkpoint when the client leaves.

    Raises:
        ApiError: 429, 503: too many wait.
        ClientDisconnect: The client has left.
    """
    exchange = current_request.get()
    answer: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
    is_unwanted = threading.Event()
    context = copy_context()

    def compute(turn: Turn) -> None:
        context.run(_compute, partial(work, body, services), services.model_slots, turn, is_unwanted, answer)

    turn = services.model_slots.request(exchange.caller, lambda turn: _begin(partial(compute, turn)))
    left = asyncio.create_task(exchange.client_left())
    try:
        await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        is_unwanted.set()
        services.model_slots.withdraw(turn)
        left.cancel()


class _OfThread(threading.local):
    """State of one thread: whether it has just finished its work, and what it does next."""

    is_free = False
    following: Callable[[], None] | None = None


_of_thread: Final = _OfThread()


def _begin(compute: Callable[[], None]) -> None:
    """Compute with a slot that was granted here: in this thread if it releases its slot at that moment."""
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
        with slots.time_sliced(turn, refuse) as check, interruptible(check):
            result = work()
            _of_thread.is_free = True
    except InterruptedWorkError:
        return  # The client has left.
    except Exception as error:  # noqa: BLE001  # it is raised where the work is waited for
        answer.get_loop().call_soon_threadsafe(_deliver, answer, partial(answer.set_exception, error))
    else:
        answer.get_loop().call_soon_threadsafe(_deliver, answer, partial(answer.set_result, result))


def _deliver(answer: "asyncio.Future[_Result]", deliver: Callable[[], None]) -> None:
    # Once the client has left, asyncio would log the error as one that was never retrieved.
    if not answer.done():
        deliver()
