"""Deal the examples to train, validation and test."""

import asyncio

from prefect import task

from retune.config import SplitConfig
from retune.data.splits import Splits, split_examples
from retune.data.stored_examples import read_stored_examples
from retune.files import write_json
from tasks.policies import PERSISTED, by_content
from tasks.values import CheckedData, SplitData


@task(cache_policy=by_content(), **PERSISTED)
async def split_data(data: CheckedData, split: SplitConfig) -> SplitData:
    """Split the examples and write who went where as `splits.json`.

    Raises:
        DataError: Too few would be left for training.
    """
    path = data.run.path("splits.json")
    splits = await asyncio.to_thread(_split, data, split)
    await asyncio.to_thread(
        write_json, path, {"train": splits.train, "validation": splits.validation, "test": splits.test}
    )
    return SplitData(
        run=data.run,
        examples=data.examples,
        assignment=path,
        method=split.method,
        train=len(splits.train),
        validation=len(splits.validation),
        test=len(splits.test),
    )


def _split(data: CheckedData, split: SplitConfig) -> Splits:
    return split_examples(read_stored_examples(data.examples.path), split)
