"""Write the splits as the JSONL files that the API takes."""

import asyncio
import json

from prefect import task

from retune.config import ProviderConfig, TrainingConfig
from retune.data.jsonl import FileFacts
from retune.data.jsonl import write_jsonl as write_jsonl_file
from retune.data.stored_examples import read_stored_examples
from retune.data.tokens import auto_n_epochs, count_tokens, estimate_cost
from retune.provider.endpoint import require_endpoint
from tasks.policies import PERSISTED, by_content
from tasks.values import SplitData, TrainingFiles

_SPLITS = ("train", "validation", "test")


# The provider's address may change from run to run; what stays the same of it is in the run's key.
@task(cache_policy=by_content(exclude=("provider",)), **PERSISTED)
async def write_jsonl(
    data: SplitData, training: TrainingConfig, provider: ProviderConfig | None = None
) -> TrainingFiles:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl`, and count what training on them will take.

    The cost is estimated where a provider is named that is not on this machine.

    Raises:
        RunDirectoryError: A file can't be written.
    """
    return await asyncio.to_thread(_write, data, training, provider)


def _write(data: SplitData, training: TrainingConfig, provider: ProviderConfig | None) -> TrainingFiles:
    examples = read_stored_examples(data.examples.path)
    assignment: dict[str, list[int]] = json.loads(data.assignment.read_bytes())
    files: dict[str, FileFacts | None] = {}
    for name in _SPLITS:
        bodies = [examples[index].body for index in assignment[name]]
        files[name] = write_jsonl_file(data.run.path(f"{name}.jsonl"), bodies) if bodies else None
    train = files["train"]
    assert train is not None  # noqa: S101 - split_data leaves at least ten
    tokens = count_tokens((examples[index].body for index in assignment["train"]), training.model)
    is_paid = provider is not None and not require_endpoint(provider).is_local
    return TrainingFiles(
        run=data.run,
        train=train,
        validation=files["validation"],
        test=files["test"],
        tokens=tokens.total,
        encoding=tokens.encoding,
        estimated_cost_usd=_estimate_cost(training, tokens.total, train.examples) if is_paid else None,
    )


def _estimate_cost(training: TrainingConfig, tokens: int, n_examples: int) -> float | None:
    n_epochs = training.hyperparameters.n_epochs
    return estimate_cost(training.model, tokens, auto_n_epochs(n_examples) if n_epochs == "auto" else n_epochs)
