"""Deal the examples to train, validation and test."""

import asyncio
from pathlib import Path

import numpy as np
from prefect import get_run_logger

from retune.config import SplitConfig
from retune.data.dataset.columns import SIDES
from retune.data.dataset.example_store import ExampleStore
from retune.data.splits.origins import find_origins
from retune.data.splits.split import deal_examples
from retune.files import atomic_write, writing
from tasks.runtime.steps import PERSISTED, by_content, step
from tasks.runtime.values import CheckedData, SplitData


@step("split", cache_policy=by_content(), **PERSISTED)
async def split_data(data: CheckedData, split: SplitConfig) -> SplitData:
    """Split the examples and write who went where as `sides.npy`.

    Raises:
        DataError: Too few would be left for training.
        RunDirectoryError: The file can't be written.
    """
    path = data.run.path("sides.npy")
    notes: list[str] = []
    counts, origins = await asyncio.to_thread(_split, data, split, path, notes)
    for note in notes:
        get_run_logger().warning("split: %s", note, extra={"user_facing": True})
    return SplitData(run=data.run, examples=data.examples, sides=path, origins=origins, **counts)


def _split(
    data: CheckedData, split: SplitConfig, path: Path, notes: list[str]
) -> tuple[dict[str, int], dict[str, str]]:
    """Deal the examples; return how many went to each split, and where each split comes from."""
    store = ExampleStore(data.examples.directory)
    sides = deal_examples(store, split, on_note=notes.append)
    with writing(path), atomic_write(path) as stream:
        np.save(stream, sides, allow_pickle=False)
    counts = np.bincount(sides, minlength=len(SIDES)).tolist()
    return dict(zip(SIDES[1:], counts[1:], strict=True)), find_origins(store, split, sides)
