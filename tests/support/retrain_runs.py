"""Small runs of the whole flow, and what Prefect knows of them afterwards."""

import asyncio
import csv
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterTags,
    LogFilter,
)
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from retune.config import RetrainConfig
from retune.config_file import parse_config

_ANSWERS = {"refund": "I want my money back", "delivery": "Where is my parcel", "login": "I can not sign in"}


def write_tickets(path: Path) -> Path:
    """Sixty tickets with three labels; each place's data is its own, so that it does not find another test's job."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["message", "label"])
        for number in range(60):
            label = list(_ANSWERS)[number % 3]
            rows.writerow([f"{_ANSWERS[label]}, order {number}, 注文 {number}, {path.parent.name}", label])
    return path


def configuration(base_url: str, data: Path, **settings: Any) -> RetrainConfig:
    """A quick run on tickets."""
    training = {"hyperparameters": {"n_epochs": 2, "batch_size": 8}, "poll_interval_seconds": 0.2}
    return parse_config(
        {
            "data": {
                "source": str(data),
                "user_column": "message",
                "assistant_column": "label",
                "system": "Sort this.",
            },
            "training": {**training, **settings.pop("training", {})},
            "provider": {"base_url": base_url, **settings.pop("provider", {})},
            **settings,
        }
    )


async def flow_runs_on(data: Path) -> list[FlowRun]:
    """The flow runs on this data, oldest first."""
    async with get_client() as client:
        wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"data:{data.stem}"]))
        return sorted(await client.read_flow_runs(flow_run_filter=wanted), key=lambda run: str(run.created))


async def events(name: str, of: str) -> list[dict[str, Any]]:
    """Payloads of all events of this name whose resource's id ends with `of`, once all that was emitted is stored."""
    await asyncio.to_thread(EventsWorker.drain_all, timeout=10)
    async with get_client() as client:
        page = await client.read_events(filter=EventFilter(event=EventNameFilter(name=[name])), limit=50)
    return [event.payload for event in page.events if event.resource.id.endswith(of)]


async def artifacts(*keys: str) -> dict[str, Artifact]:
    """Artifacts by their keys, the newest of each."""
    async with get_client() as client:
        found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=list(keys))))
    return {str(artifact.key): artifact for artifact in sorted(found, key=lambda artifact: str(artifact.created))}


async def log_of(run: FlowRun) -> str:
    """All that the flow run logged, and that was logged about it."""
    await asyncio.to_thread(APILogWorker.drain_all, timeout=10)
    async with get_client() as client:
        wanted = LogFilter.model_validate({"flow_run_id": {"any_": [run.id]}})
        return "\n".join(line.message for line in await client.read_logs(log_filter=wanted, limit=200))
