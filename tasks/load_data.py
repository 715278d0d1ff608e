"""Read the source into examples, and open the run that they belong to."""

import asyncio
import hashlib
import threading
from pathlib import Path

from retune.config import RetrainConfig
from retune.data.cost.model_dates import check_model_fits, utc_today
from retune.data.dataset.example_store import PLACE_COLUMNS, SPLIT_COLUMNS, ExampleStore
from retune.data.ingest.load import LoadOptions, load_examples
from retune.provider.endpoint import require_endpoint
from retune.results.links import artifact_name
from retune.run import directory_before_run, open_run
from retune.staging import replace_directory, staging_directory
from retune.training_lines.keys import JsonObject
from tasks.runtime.deployed import refuse_foreign_source
from tasks.runtime.flow_run import API_KEY_BLOCK, BASE_URL, RUN_KEY, label_flow_run
from tasks.runtime.locks import exclusive_run
from tasks.runtime.progress import ProgressReport
from tasks.runtime.steps import PERSISTED, step
from tasks.runtime.values import LoadedData, StoredExamples

_NOT_TOLD_BEFORE_SECONDS = 3.0
_MEGABYTE = 1_000_000
_AS_USUAL = 0o777


# Not cached: whether the data has changed is only known by reading it.
@step("load", **PERSISTED)
async def load_data(config: RetrainConfig) -> LoadedData:
    """Read the source and write it, and what was found out about each example, as `examples/` into the run's directory.

    What can't be read to its end leaves nothing behind.

    Raises:
        SourceError: The source can't be read, may not be read by this run, or holds examples for another training
            method.
        ConfigError: No provider is named, or it can't have the base model.
        RunBusyError: Another process is working on the same run; a flow run of a deployment waits for it.
        RunDirectoryError: The run's directory can't be used.
        CancelledRun: The flow run was cancelled while it waited.
    """
    refuse_foreign_source(config.data)
    endpoint = require_endpoint(config.provider)
    check_model_fits(config.training.model, endpoint.kind, today=utc_today())
    options = LoadOptions(model=config.training.model, method=config.training.method, provider=endpoint.kind)
    with staging_directory(directory_before_run(config), mode=_AS_USUAL) as directory:
        store = await _read(config, options, directory)
        content = content_sha256(store)
        run = open_run(config, data_sha256=content, provider_identity=endpoint.identity)
        # From here on, cancelling another flow run leaves the job alone that this one means, too.
        await label_flow_run(
            {RUN_KEY: run.key, BASE_URL: endpoint.base_url, API_KEY_BLOCK: config.provider.api_key_block}
        )
        async with exclusive_run(run):
            kept = await asyncio.to_thread(_keep, store, run.path("examples"))
    return LoadedData(
        run=run,
        examples=StoredExamples(
            directory=kept.directory,
            content_sha256=content,
            places_sha256=kept.sha256_of(PLACE_COLUMNS),
            n_examples=len(kept),
        ),
        source=kept.facts.source,
        shape=kept.facts.shape,
        unused=kept.facts.unused,
    )


class LoadingStoppedError(Exception):
    """Nobody waits for the examples any more."""


async def _read(config: RetrainConfig, options: LoadOptions, directory: Path) -> ExampleStore:
    progress = ProgressReport(
        key=f"loading-{artifact_name(config.data.label)}",
        step="load",
        description=f"Megabytes read of {config.data.label}",
        unit="MB",
        after_seconds=_NOT_TOLD_BEFORE_SECONDS,
    )
    stopped = threading.Event()

    def tell(done: int, total: int | None) -> None:
        if stopped.is_set():
            raise LoadingStoppedError
        progress.advance(done // _MEGABYTE, None if total is None else total // _MEGABYTE)

    async with progress:
        reading = asyncio.create_task(
            asyncio.to_thread(load_examples, config.data, config.split, options, directory, on_progress=tell)
        )
        try:
            return await asyncio.shield(reading)
        finally:
            # A thread can't be cancelled; whoever clears up the files that it writes has to wait for its end.
            stopped.set()
            await asyncio.gather(reading, return_exceptions=True)


def content_sha256(store: ExampleStore) -> str:
    """Hex SHA-256 of everything that a training depends on: the examples, their order, and what a split goes by."""
    return hashlib.sha256(f"{store.facts.sha256}{store.sha256_of(SPLIT_COLUMNS)}".encode()).hexdigest()


def _keep(store: ExampleStore, target: Path) -> ExampleStore:
    """Move the examples to their place, unless an earlier run left the same there."""
    try:
        present = ExampleStore(target)
        is_same = _sizes(present) == _sizes(store) and _identity(present) == _identity(store)
    except (FileNotFoundError, ValueError):
        is_same = False
    if not is_same:
        replace_directory(target, store.directory)
    return ExampleStore(target)


def _sizes(store: ExampleStore) -> dict[str, int]:
    """Bytes of all files but the facts, so that a damaged store is not taken for whole."""
    files = (path for path in store.directory.rglob("*") if path.is_file() and path.name != "facts.json")
    return {str(path.relative_to(store.directory)): path.stat().st_size for path in files}


def _identity(store: ExampleStore) -> tuple[JsonObject, str]:
    # Of the files with the lines, the paths tell where they were written.
    facts = store.facts.model_dump(exclude={"parts": {"__all__": {"path"}}})
    return facts, store.sha256_of((*SPLIT_COLUMNS, *PLACE_COLUMNS))
