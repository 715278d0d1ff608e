"""The data trigger: notices that a source holds new examples and announces it, which starts a training."""

import asyncio

from prefect import flow, get_run_logger

from retune.config import RetrainConfig
from retune.watch.config import WatchConfig
from retune.watch.files import WatchFiles
from tasks.announce_data import announce_data
from tasks.count_new_examples import count_new_examples
from tasks.publish_watch_result import publish_watch_result
from tasks.runtime.watch_state import WatchResult
from tasks.snapshot_source import snapshot_source

LONGEST_WAIT_SECONDS = 120.0
"""A run waits this long for data to settle; where that takes longer, the next run checks again."""

_A_LITTLE_LATER_SECONDS = 0.05
_DEFAULTS = WatchConfig()


@flow(name="watch-data", flow_run_name="watch {config.data.label}")
async def watch_data(config: RetrainConfig, watch: WatchConfig = _DEFAULTS) -> WatchResult:
    """Check a source once; announce it if it holds enough new examples and has been left alone for a while.

    The announcement is the event `retune.data.changed` with the configuration in it, from which a trigger starts the
    flow `retrain`. Data that was announced already is never announced again; the first check finds everything new.

    Args:
        config: What to train anew when its data has changed.
        watch: When it is complete, and when it is enough.
    """
    with WatchFiles(config).exclusive() as is_held:
        if not is_held:
            get_run_logger().info("Another process is checking %s right now.", config.data.label)
            return WatchResult(status="busy")
        result = await snapshot_source(config, watch)
        if 0 < result.wait_seconds <= LONGEST_WAIT_SECONDS:
            await asyncio.sleep(result.wait_seconds + _A_LITTLE_LATER_SECONDS)
            result = await snapshot_source(config, watch)
        if result.status == "to be counted" and result.snapshot:
            result = await count_new_examples(config, watch, result.snapshot)
        if result.status == "enough":
            result = await announce_data(config, watch, result)
        await publish_watch_result(config.data, result)
        return result
