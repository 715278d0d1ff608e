"""The steps of a run, one after the other, without the flow, and what watching the data announced."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.events.schemas.events import Event

from retune.config import RetrainConfig
from retune.config_file import parse_config
from retune.watch.config import WatchConfig
from retune.watch.files import source_hash
from tasks.announce_data import DATA_CHANGED
from tasks.check_data import check_data
from tasks.limit_cost import limit_cost
from tasks.load_data import load_data
from tasks.runtime.values import CheckedData, LoadedData, TrainingFiles
from tasks.split_data import split_data
from tasks.write_jsonl import write_jsonl

NOBODY = "http://127.0.0.1:9/v1"
"""Where nobody answers."""

AT_ONCE = WatchConfig(quiet_seconds=0)
Rows = Sequence[tuple[str, ...]]

ROWS = [(f"question {number}", f"answer {number % 3}") for number in range(30)]


def write_csv(path: Path, rows: Rows, *header: str) -> str:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header or ("q", "a"), *rows])
    return str(path)


def configuration(source: str, base_url: str = NOBODY, **settings: Any) -> RetrainConfig:
    data = {"source": source, "user_column": "q", "assistant_column": "a", **settings.pop("data", {})}
    return parse_config({"data": data, "provider": {"base_url": base_url}, **settings})


def with_training(config: RetrainConfig, **settings: Any) -> RetrainConfig:
    return config.model_copy(update={"training": config.training.model_copy(update=settings)})


async def announcements(config: RetrainConfig) -> Sequence[Event]:
    """What Prefect has of a source, oldest first."""
    wanted = EventFilter(
        event=EventNameFilter(name=[DATA_CHANGED]),
        resource=EventResourceFilter(id=[f"retune.data.{source_hash(config.data)}"]),
    )
    async with get_client() as client:
        page = await client.read_events(wanted, limit=50)
    return page.events[::-1]


async def check(config: RetrainConfig, data: LoadedData) -> CheckedData:
    training = config.training
    return await check_data(data, config.split, training.model, training.hyperparameters.n_epochs)


async def write(config: RetrainConfig) -> TrainingFiles:
    checked = await check(config, await load_data(config))
    return await write_jsonl(await split_data(checked, config.split), checked.cost, config.provider)


async def prepare(config: RetrainConfig) -> TrainingFiles:
    files = await write(config)
    await limit_cost(config, files)
    return files


async def run_key(config: RetrainConfig) -> str:
    return (await load_data(config)).run.key
