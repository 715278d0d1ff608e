"""The data trigger: notices that a source holds new examples, and says so, which starts a training."""

import asyncio

from prefect import flow, get_run_logger

from retune.config import RetrainConfig
from retune.data.watching.config import WatchConfig
from retune.data.watching.place import WatchPlace
from tasks.announce_data import announce_data
from tasks.count_new_examples import count_new_examples
from tasks.look_at_data import look_at_data
from tasks.publish_look import publish_look
from tasks.steps import Steps
from tasks.watch_values import Look

LONGEST_WAIT_SECONDS = 120.0
"""A run waits so long for data to settle; where that takes longer, the next run looks again."""

_A_LITTLE_LATER_SECONDS = 0.05
_DEFAULTS = WatchConfig()


@flow(name="watch-data", flow_run_name="watch {config.data.label}")
async def watch_data(config: RetrainConfig, watch: WatchConfig = _DEFAULTS) -> Look:
    """Look at a source once; announce it if it holds enough new examples and has been left alone for a while.

    The announcement is the event `retune.data.changed` with the configuration in it, from which a trigger starts the
    flow `retrain`. Data that was announced already is never announced again; the first look finds everything new.

    Args:
        config: What to train anew when its data has changed.
        watch: When it is complete, and when it is enough.
    """
    steps = Steps()
    with WatchPlace(config).exclusive() as is_held:
        if not is_held:
            get_run_logger().info("Another process is looking at %s at this moment.", config.data.label)
            return Look(judgement="busy")
        look = await steps.take("look", look_at_data(config, watch))
        if 0 < look.wait_seconds <= LONGEST_WAIT_SECONDS:
            await asyncio.sleep(look.wait_seconds + _A_LITTLE_LATER_SECONDS)
            look = await steps.take("look again", look_at_data(config, watch))
        if look.judgement == "to be counted" and look.sight:
            look = await steps.take("count", count_new_examples(config, watch, look.sight))
        if look.judgement == "enough":
            look = await steps.take("announce", announce_data(config, watch, look))
        await publish_look(config.data, look)
        return look
