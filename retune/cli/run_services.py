"""What a run needs around it, started side by side: Prefect, the fine-tuning server, and the pipeline's own code."""

import asyncio
import shlex
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, TypeVar

from retune.cli.check_view import ReadingBar
from retune.cli.connection import key_is_for, local_api_key, server_directory
from retune.cli.prefect_server import address_to_watch, keep_prefect_to_itself, own_password, prefect_server
from retune.cli.run_view import RunView
from retune.config import ProviderConfig, RetrainConfig
from retune.data.blocks import Source
from retune.data.comparison.check import check_store
from retune.data.comparison.report import CheckReport
from retune.data.describing.load import LoadOptions, find_shape, load_examples
from retune.data.model_dates import check_model_fits, utc_today
from retune.data.shapes.message_rows import put_together
from retune.data.sources.open import open_source
from retune.data.splits.split import deal_examples
from retune.errors import CheckError
from retune.provider.endpoint import Endpoint, resolve_endpoint
from retune.server.embedded import RunningServer, embedded_server

if TYPE_CHECKING:
    from retune.results.manifest import RunManifest

_MOST_BYTES_READ_TWICE = 16_000_000


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

    Raises:
        RetuneError: The provider can't be used, or a server can't start.
    """
    endpoint = resolve_endpoint(config.provider)
    if endpoint:
        check_model_fits(config.training.model, endpoint.kind, today=utc_today())
        if not config.provider.api_key_block:
            with key_is_for(endpoint.base_url):
                _check_provider(config.provider)
    view.show_header(config, endpoint)
    keep_prefect_to_itself()
    trainer: AbstractContextManager[RunningServer | None] = (
        nullcontext() if endpoint else embedded_server(server_directory(None), say=view.warn)
    )
    with ExitStack() as stack:
        with _SideBySide(stack) as starting:
            prefect = starting.enter(prefect_server(view.warn))
            local = starting.enter(trainer)
            from flows.local import retrain_and_flush  # noqa: PLC0415 - Prefect takes seconds to import
        api_url, server = prefect.result(), local.result()
        if server:
            stack.enter_context(local_api_key(server.base_url))
            provider = config.provider.model_copy(
                update={"base_url": server.base_url, "is_embedded": True, "api_key_block": ""}
            )
            config = config.model_copy(update={"provider": provider})
        elif endpoint:
            stack.enter_context(key_is_for(endpoint.base_url))
        view.show_address(address_to_watch(api_url))
        password = own_password()
        yield RunServices(config=config, retrain=lambda config: retrain_and_flush(config, api_url, password))


def check_data(config: RetrainConfig, bar: ReadingBar) -> None:
    """Look at the source before anything is started, so that an error in it leaves nothing behind.

    A small one is read to its end.

    Raises:
        RetuneError: The data or the provider's address can't be used.
    """
    endpoint = resolve_endpoint(config.provider)
    if config.data.query is not None:
        # A query is asked once: it may take long, and its rows may be others the next time.
        return
    source = put_together(open_source(config.data, lambda done: bar.read(done, None)), config.data)
    find_shape(source, config.data, config.split, config.training.method)
    if _is_small(source):
        _check_to_the_end(config, endpoint)


def _check_to_the_end(config: RetrainConfig, endpoint: Endpoint | None) -> None:
    training = config.training
    options = LoadOptions(
        model=training.model, method=training.method, provider=endpoint.kind if endpoint else "retune"
    )
    with TemporaryDirectory(prefix="retune-") as directory:
        store = load_examples(config.data, config.split, options, Path(directory, "examples"))
        report = check_store(
            store,
            config.split,
            model=training.model,
            n_epochs=training.hyperparameters.n_epochs,
            path=Path(directory, "check_report.json"),
        )
        _raise_for_errors(report, config.data.source)
        deal_examples(store, config.split)


def _is_small(source: Source) -> bool:
    # The run reads it anyway: reading a large source twice takes longer than it saves.
    sizes = [file.bytes for file in source.files]
    return None not in sizes and sum(size or 0 for size in sizes) < _MOST_BYTES_READ_TWICE


def _raise_for_errors(report: CheckReport, source: str) -> None:
    try:
        report.raise_for_errors()
    except CheckError as error:
        more = f"`retune check {shlex.quote(source)} --report FILE`, with the same flags, writes all of them to a file."
        raise CheckError(error.message, hint=more) from None


def _check_provider(config: ProviderConfig) -> None:
    from retune.provider.models import check_provider  # noqa: PLC0415 - the SDK takes over a second to import

    asyncio.run(check_provider(config))


Value = TypeVar("Value")


class _SideBySide:
    """Enters context managers in threads; they are left with the stack, in threads again."""

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
        self._stack.push(self._leave)

    def _leave(self, *exception: Any) -> None:
        entered = [manager for manager, future in self._entered if future.exception() is None]
        with ThreadPoolExecutor() as pool:
            leaving = [pool.submit(manager.__exit__, *exception) for manager in reversed(entered)]
        for future in leaving:
            future.result()
