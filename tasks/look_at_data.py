"""Look at a source from outside and tell whether it is what it was."""

import asyncio

from prefect import task
from prefect.cache_policies import NO_CACHE

from retune.config import RetrainConfig
from retune.data.watching.config import WatchConfig
from retune.data.watching.memory import judge
from retune.data.watching.sight import look
from tasks.deployed import refuse_foreign_source
from tasks.watch_memory import recall, remember
from tasks.watch_values import Look


# Neither cached nor retried: the next look comes by itself, and this one is of this moment.
@task(cache_policy=NO_CACHE, persist_result=False)
async def look_at_data(config: RetrainConfig, watch: WatchConfig) -> Look:
    """Hold what the source looks like against what earlier looks remembered, and remember it.

    Raises:
        ConfigError: The settings don't fit the source.
        SourceError: The source isn't there, doesn't answer, or may not be read by this run; what is remembered stays as
            it is.
    """
    refuse_foreign_source(config.data)
    memory = await recall(config)
    sight = await asyncio.to_thread(look, config.data, watch)
    verdict = judge(memory, sight, watch)
    if verdict.memory != memory:
        await remember(config, verdict.memory)
    return Look.of(sight, verdict)
