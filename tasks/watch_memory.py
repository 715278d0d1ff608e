"""What every worker knows of a watched source: a Prefect Variable for each watch."""

from prefect import get_run_logger
from prefect.variables import Variable
from pydantic import ValidationError

from retune.config import RetrainConfig
from retune.data.watching.memory import WatchMemory
from retune.data.watching.place import watch_key


def variable_name(config: RetrainConfig) -> str:
    """The Variable that remembers a watch; where it is deleted, all data is announced once more."""
    return f"retune_watch_{watch_key(config)}"


async def recall(config: RetrainConfig) -> WatchMemory:
    """What earlier looks remembered; nothing before the first one."""
    value = await Variable.aget(variable_name(config))
    try:
        return WatchMemory() if value is None else WatchMemory.model_validate(value)
    except ValidationError:
        get_run_logger().warning(
            "The Variable %s is not one that Retune wrote; all data counts as new.", variable_name(config)
        )
        return WatchMemory()


async def remember(config: RetrainConfig, memory: WatchMemory) -> None:
    """Keep what was seen for the next look, on whatever machine it is."""
    value = memory.model_dump(mode="json")
    await Variable.aset(variable_name(config), value, tags=["retune", "watch"], overwrite=True)
