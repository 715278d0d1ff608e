"""Read the source into examples, and open the run that they belong to."""

import asyncio

from prefect import task

from retune.config import RetrainConfig
from retune.data.sources import load_examples
from retune.data.stored_examples import hash_examples, store_examples
from retune.provider.endpoint import check_model_fits, require_endpoint
from retune.run import open_run
from tasks.policies import PERSISTED
from tasks.values import LoadedData


# Not cached: whether the data has changed is only known by reading it.
@task(**PERSISTED)
async def load_data(config: RetrainConfig) -> LoadedData:
    """Read the source and write it as `examples.jsonl` into the run's directory.

    Raises:
        SourceError: The source can't be read.
        ConfigError: No provider is named, or it can't have the base model.
        RunDirectoryError: The run's directory can't be used.
    """
    return await asyncio.to_thread(_load, config)


def _load(config: RetrainConfig) -> LoadedData:
    endpoint = require_endpoint(config.provider)
    check_model_fits(config, endpoint)
    loaded = load_examples(config.data)
    run = open_run(config, data_sha256=hash_examples(loaded.examples), provider_identity=endpoint.identity)
    return LoadedData(
        run=run,
        examples=store_examples(run.path("examples.jsonl"), loaded.examples),
        source=config.data.path,
        source_format=loaded.facts.format,
    )
