"""Take a snapshot of a source from outside, and compare it with the last one."""

import asyncio

from prefect.cache_policies import NO_CACHE

from retune.config import RetrainConfig
from retune.watch.config import WatchConfig
from retune.watch.snapshot import take_snapshot
from retune.watch.state import decide
from tasks.runtime.deployed import refuse_foreign_source
from tasks.runtime.steps import step
from tasks.runtime.watch_state import WatchResult, load_state, save_state


# Neither cached nor retried: the next check comes by itself, and this one is about this moment.
@step("look", cache_policy=NO_CACHE, persist_result=False)
async def snapshot_source(config: RetrainConfig, watch: WatchConfig) -> WatchResult:
    """Compare a snapshot of the source with the saved state, and save the new state.

    Raises:
        ConfigError: The settings don't fit the source.
        SourceError: The source isn't there, doesn't answer, or may not be read by this run; the saved state stays as
            it is.
    """
    refuse_foreign_source(config.data)
    state = await load_state(config)
    snapshot = await asyncio.to_thread(take_snapshot, config.data, watch)
    decision = decide(state, snapshot, watch)
    if decision.state != state:
        await save_state(config, decision.state)
    return WatchResult.of(snapshot, decision)
