"""What `retune run` needs, started at the same time: Prefect, the fine-tuning server, and the pipeline's own code."""

import asyncio
import shlex
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from retune.config import RetrainConfig
from retune.data.cost.model_dates import check_model_fits, utc_today
from retune.data.dataset_checks.check import check_store
from retune.data.dataset_checks.report import CheckReport
from retune.data.formats.message_rows.source import put_together
from retune.data.ingest.load import LoadOptions, find_format, load_examples
from retune.data.sources.blocks import Source
from retune.data.sources.open import open_source
from retune.data.splits.split import split_examples
from retune.errors import CheckError
from retune.local.connection import key_is_for, local_api_key, server_directory
from retune.local.embedded_server import embedded_server
from retune.local.prefect_server import address_to_watch, own_password
from retune.local.side_by_side import SideBySide, start_prefect
from retune.provider.endpoint import Endpoint, resolve_endpoint

if TYPE_CHECKING:
    from retune.results.manifest import RunManifest

_MOST_BYTES_READ_TWICE = 16_000_000


@dataclass(frozen=True, slots=True)
class RunServices:
    """The services of a run, all of which answer.

    Attributes:
        config: The run's configuration, with the provider's address.
        watch_url: Where the run can be watched in a browser.
        retrain: Runs the pipeline, and waits until Prefect has recorded the end of it.
    """

    config: RetrainConfig
    watch_url: str
    retrain: Callable[[RetrainConfig], Coroutine[Any, Any, "RunManifest"]]


def check_provider(config: RetrainConfig) -> Endpoint | None:
    """Check that the provider answers, takes the key, and still trains the base model.

    Returns:
        The provider; None for the server on this machine, which is not started yet.

    Raises:
        RetuneError: The provider can't be used.
    """
    endpoint = resolve_endpoint(config.provider)
    if endpoint is None:
        return None
    check_model_fits(config.training.model, endpoint.kind, today=utc_today())
    if not config.provider.api_key_block:
        with key_is_for(endpoint.base_url):
            from retune.provider import models  # noqa: PLC0415 - the SDK takes over a second to import

            asyncio.run(models.check_provider(config.provider))
    return endpoint


@contextmanager
def run_services(
    config: RetrainConfig, endpoint: Endpoint | None, starting: SideBySide, warn: Callable[[str], None]
) -> Iterator[RunServices]:
    """Start all services at the same time, because each takes seconds; `starting` stops them.

    Args:
        config: The run's configuration.
        endpoint: As `check_provider` returned it.
        starting: What is started already; the rest is added to it.
        warn: Called from other threads when a service ends early, and when it is back.

    Raises:
        ServerError: A server can't start.
    """
    prefect = start_prefect(starting, warn)
    local = (
        None
        if endpoint
        else starting.enter(embedded_server(server_directory(None), say=warn, stopping=starting.stopping))
    )
    from flows.local import retrain_and_flush  # noqa: PLC0415 - Prefect takes seconds to import

    starting.wait()
    api_url = prefect.result()
    with ExitStack() as stack:
        if local:
            base_url = local.result().base_url
            stack.enter_context(local_api_key(base_url))
            provider = config.provider.model_copy(
                update={"base_url": base_url, "is_embedded": True, "api_key_block": ""}
            )
            config = config.model_copy(update={"provider": provider})
        elif endpoint:
            stack.enter_context(key_is_for(endpoint.base_url))
        password = own_password()
        yield RunServices(
            config, address_to_watch(api_url), lambda config: retrain_and_flush(config, api_url, password)
        )


def check_data(config: RetrainConfig, on_read: Callable[[int], None]) -> None:
    """Check the source before anything is started, so that an error in it leaves nothing behind.

    A small source is read to its end.

    Args:
        config: The run's configuration.
        on_read: Called with the bytes read so far.

    Raises:
        RetuneError: The data or the provider's address can't be used.
    """
    endpoint = resolve_endpoint(config.provider)
    if config.data.query is not None:
        # A query is asked once: it may take long, and its rows may be others the next time.
        return
    source = put_together(open_source(config.data, on_read), config.data)
    find_format(source, config.data, config.split, config.training.method)
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
        split_examples(store, config.split)


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
