"""Write the splits as the JSONL files that the API takes."""

import asyncio

import numpy as np

from retune.config import ProviderConfig
from retune.data.cost.estimate import CostEstimate
from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset.training_files import write_splits
from retune.provider.endpoint import require_endpoint
from tasks.runtime.steps import PERSISTED, by_content, step
from tasks.runtime.values import SplitData, TrainingFiles


# The provider's address may change from run to run; what stays the same of it is in the run's key.
@step("write", cache_policy=by_content(exclude=("provider",)), **PERSISTED)
async def write_jsonl(data: SplitData, cost: CostEstimate, provider: ProviderConfig) -> TrainingFiles:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl`, and count their tokens.

    Args:
        data: Which example goes where.
        cost: Of training on them, as the checks estimated it.
        provider: Some want a byte order mark.

    Raises:
        RunDirectoryError: A file can't be written.
    """
    return await asyncio.to_thread(_write, data, cost, provider)


def _write(data: SplitData, cost: CostEstimate, provider: ProviderConfig) -> TrainingFiles:
    store = ExampleStore(data.examples.directory)
    splits = np.load(data.splits, allow_pickle=False)
    tokens = store.column("tokens").astype(np.uint32, copy=False)
    files = write_splits(store, splits, data.run.directory, with_bom=require_endpoint(provider).wants_bom)
    return TrainingFiles(
        run=data.run,
        train=files["train"],
        validation=files.get("validation"),
        test=files.get("test"),
        split_tokens={name: int(tokens[splits == SPLITS.index(name)].sum(dtype=np.int64)) for name in files},
        split_origins=data.origins,
        encoding=store.facts.encoding,
        cost=cost,
    )
