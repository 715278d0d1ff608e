"""Assign the examples to train, validation and test."""

import asyncio
from pathlib import Path

import numpy as np
from prefect import get_run_logger

from retune.config import SplitConfig
from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.splits.origins import find_origins
from retune.data.splits.split import split_examples
from retune.files import atomic_write, writing
from tasks.runtime.steps import PERSISTED, by_content, step
from tasks.runtime.values import CheckedData, SplitData


@step("split", cache_policy=by_content(), **PERSISTED)
async def split_data(data: CheckedData, split: SplitConfig) -> SplitData:
    """Split the examples and write who went where as `splits.npy`.

    Raises:
        DataError: Too few would be left for training.
        RunDirectoryError: The file can't be written.
    """
    path = data.run.path("splits.npy")
    notes: list[str] = []
    counts, origins = await asyncio.to_thread(_split, data, split, path, notes)
    for note in notes:
        get_run_logger().warning("split: %s", note, extra={"user_facing": True})
    return SplitData(run=data.run, examples=data.examples, splits=path, origins=origins, **counts)


def _split(
    data: CheckedData, split: SplitConfig, path: Path, notes: list[str]
) -> tuple[dict[str, int], dict[str, str]]:
    """Split the examples; return how many went to each split, and where each split comes from."""
    store = ExampleStore(data.examples.directory)
    splits = split_examples(store, split, on_note=notes.append)
    with writing(path), atomic_write(path) as stream:
        np.save(stream, splits, allow_pickle=False)
    counts = np.bincount(splits, minlength=len(SPLITS)).tolist()
    return dict(zip(SPLITS[1:], counts[1:], strict=True)), find_origins(store, split, splits)
