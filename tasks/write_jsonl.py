"""Write the splits as the JSONL files that the API takes."""

import asyncio

import numpy as np
from prefect import task

from retune.config import ProviderConfig, TrainingConfig
from retune.data.cost import estimate_training_cost, refuse_if_too_expensive
from retune.data.store.columns import SIDES
from retune.data.store.store import ExampleStore
from retune.data.store.training_files import write_splits
from retune.provider.endpoint import require_endpoint
from tasks.policies import PERSISTED, by_content
from tasks.values import SplitData, TrainingFiles


# The provider's address may change from run to run; what stays the same of it is in the run's key.
@task(cache_policy=by_content(exclude=("provider",)), **PERSISTED)
async def write_jsonl(data: SplitData, training: TrainingConfig, provider: ProviderConfig) -> TrainingFiles:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl`, and count what training on them will take.

    The cost is estimated where the provider is not on this machine, and a run that would cost more than it may ends
    here, before anything is uploaded.

    Raises:
        ConfigError: The training would cost more than `max_cost_usd`, or what it costs can't be said.
        RunDirectoryError: A file can't be written.
    """
    return await asyncio.to_thread(_write, data, training, provider)


def _write(data: SplitData, training: TrainingConfig, provider: ProviderConfig) -> TrainingFiles:
    endpoint = require_endpoint(provider)
    store = ExampleStore(data.examples.directory)
    sides = np.load(data.sides, allow_pickle=False)
    tokens = store.column("tokens").astype(np.uint32, copy=False)
    cost = estimate_training_cost(
        training.model,
        tokens[sides == SIDES.index("train")],
        training.hyperparameters.n_epochs,
        method=training.method,
        provider=endpoint.kind,
    )
    refuse_if_too_expensive(cost, training.max_cost_usd, is_local=endpoint.is_local)
    files = write_splits(store, sides, data.run.directory, with_bom=endpoint.wants_bom)
    return TrainingFiles(
        run=data.run,
        train=files["train"],
        validation=files.get("validation"),
        test=files.get("test"),
        split_tokens={name: int(tokens[sides == SIDES.index(name)].sum(dtype=np.int64)) for name in files},
        encoding=store.facts.encoding,
        cost=None if endpoint.is_local else cost,
    )
