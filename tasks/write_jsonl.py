"""Write the splits as the JSONL files that the API takes."""

import asyncio
import json

from prefect import task

from retune.config import TrainingConfig
from retune.data.jsonl import FileFacts
from retune.data.jsonl import write_jsonl as write_jsonl_file
from retune.data.stored_examples import read_stored_examples
from retune.data.tokens import auto_n_epochs, count_tokens, estimate_cost
from tasks.policies import PERSISTED, by_content
from tasks.values import SplitData, TrainingFiles

_SPLITS = ("train", "validation", "test")


@task(cache_policy=by_content(), **PERSISTED)
async def write_jsonl(data: SplitData, training: TrainingConfig) -> TrainingFiles:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl`, and count what training on them will take.

    Raises:
        RunDirectoryError: A file can't be written.
    """
    return await asyncio.to_thread(_write, data, training)


def _write(data: SplitData, training: TrainingConfig) -> TrainingFiles:
    examples = read_stored_examples(data.examples.path)
    assignment: dict[str, list[int]] = json.loads(data.assignment.read_bytes())
    files: dict[str, FileFacts | None] = {}
    for name in _SPLITS:
        bodies = [examples[index].body for index in assignment[name]]
        files[name] = write_jsonl_file(data.run.path(f"{name}.jsonl"), bodies) if bodies else None
    train = files["train"]
    assert train is not None  # noqa: S101 - split_data leaves at least ten
    tokens = count_tokens((examples[index].body for index in assignment["train"]), training.model)
    n_epochs = training.hyperparameters.n_epochs
    epochs = auto_n_epochs(train.examples) if n_epochs == "auto" else n_epochs
    return TrainingFiles(
        run=data.run,
        train=train,
        validation=files["validation"],
        test=files["test"],
        tokens=tokens.total,
        encoding=tokens.encoding,
        estimated_cost_usd=estimate_cost(training.model, tokens.total, epochs),
    )
