"""What a run needs around it, started side by side: Prefect, the fine-tuning server, and the pipeline's own code."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from retune.cli.connection import local_api_key, server_directory
from retune.cli.prefect_server import keep_prefect_to_itself, prefect_server
from retune.cli.run_view import RunView
from retune.config import ProviderConfig, RetrainConfig
from retune.data.checks import check_examples
from retune.data.sources import load_examples
from retune.data.splits import split_examples
from retune.provider.endpoint import check_model_fits, resolve_endpoint
from retune.server.embedded import RunningServer, embedded_server

if TYPE_CHECKING:
    from retune.manifest import RunManifest


@dataclass(frozen=True, slots=True)
class RunServices:
    """What is there while a run goes on.

    Attributes:
        config: The run's configuration, with the provider's address.
        retrain: Runs the pipeline, and waits until Prefect has written down what happened.
    """

    config: RetrainConfig
    retrain: Callable[[RetrainConfig], Coroutine[Any, Any, "RunManifest"]]


@contextmanager
def run_services(config: RetrainConfig, view: RunView) -> Iterator[RunServices]:
    """Start everything side by side, because each takes seconds; stop it again at the end.

    The source is read first, so that what is wrong with it is said at once and nothing is left behind.

    Raises:
        RetuneError: The data can't be used, or a server can't start.
    """
    _check_data(config)
    endpoint = resolve_endpoint(config.provider)
    if endpoint:
        check_model_fits(config, endpoint)
        _check_provider(config.provider)
    view.show_header(config, endpoint)
    keep_prefect_to_itself()
    trainer: AbstractContextManager[RunningServer | None] = (
        nullcontext() if endpoint else embedded_server(server_directory(None))
    )
    with ExitStack() as stack:
        with _SideBySide(stack) as starting:
            prefect = starting.enter(prefect_server())
            local = starting.enter(trainer)
            from flows.local import retrain_and_flush  # noqa: PLC0415 - Prefect takes seconds to import
        api_url, server = prefect.result(), local.result()
        if server:
            stack.enter_context(local_api_key())
            provider = config.provider.model_copy(update={"base_url": server.base_url, "is_embedded": True})
            config = config.model_copy(update={"provider": provider})
        view.show_address(api_url.removesuffix("/api"))
        yield RunServices(config=config, retrain=lambda config: retrain_and_flush(config, api_url))


def _check_data(config: RetrainConfig) -> None:
    examples = load_examples(config.data).examples
    check_examples(examples).raise_for_errors()
    split_examples(examples, config.split)


def _check_provider(config: ProviderConfig) -> None:
    from retune.provider.models import check_provider  # noqa: PLC0415 - the SDK takes over a second to import

    asyncio.run(check_provider(config))


Value = TypeVar("Value")


class _SideBySide:
    """Enters context managers in threads; they are left with the stack, in reverse order."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._pool = ThreadPoolExecutor()
        self._entered: list[tuple[AbstractContextManager[Any], Future[Any]]] = []

    def __enter__(self) -> Self:
        return self

    def enter(self, manager: AbstractContextManager[Value]) -> Future[Value]:
        future = self._pool.submit(manager.__enter__)
        self._entered.append((manager, future))
        return future

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=True)
        for manager, future in self._entered:
            if future.exception() is None:
                self._stack.push(manager.__exit__)
