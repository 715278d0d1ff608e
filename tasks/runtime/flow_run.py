"""What Prefect shows of a flow run before anything of it is opened: its name, tags and labels."""

import asyncio
import os
import time
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.utilities.urls import url_for
from pydantic import ValidationError

from retune.config import RetrainConfig
from retune.data.cost.base_models import base_model
from retune.errors import RunStoppedError
from retune.results.manifest import RunManifest
from tasks.runtime.values import FinishedJob

# By these the job of a flow run is found when its process is gone.
JOB_ID, BASE_URL, RUN_KEY = "retune.job_id", "retune.base_url", "retune.run_key"
TRAINING_FILE, API_KEY_BLOCK = "retune.training_file", "retune.api_key_block"
# Where the journal of its job is; and whether it is proven that this run created the job: yes or no.
RUN_DIRECTORY, JOB_IS_OURS = "retune.run_directory", "retune.job_is_ours"

# A machine that is restarted now and then resumes a run once or twice; what ends the process every time, such as too
# little memory, would otherwise repeat for ever and hold a place that other runs need.
MOST_STARTS = 5
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 2.0


def run_name() -> str:
    """A flow run's name: the model, the data, and when it was due, as "baseline-text on tickets, 2026-11-22 03:00".

    The time is that of RETUNE_TIMEZONE, else of this machine.
    """
    config = RetrainConfig.model_validate(flow_run.get_parameters()["config"])
    due = flow_run.get_scheduled_start_time().astimezone(_zone())
    return f"{config.training.model} on {config.data.label}, {due:%Y-%m-%d %H:%M}"


def _zone() -> ZoneInfo | None:
    try:
        name = os.environ.get("RETUNE_TIMEZONE")
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError):
        return None


async def begin_flow_run(config: RetrainConfig) -> None:
    """Tag the flow run with its model and data; refuse one whose process ended too often.

    Raises:
        RunStoppedError: It was started more than `MOST_STARTS` times.
    """
    if (count := flow_run.get_run_count()) > MOST_STARTS:
        raise RunStoppedError(
            f"This run was started {count} times, and each time it ended before its work was done; "
            f"after {MOST_STARTS} it is not rescheduled.",
            hint="Look at its log, fix the cause, and start a new run: it resumes where this one stopped.",
        )
    tags = [f"model:{base_model(config.training.model)}", f"data:{config.data.label}"]
    flow_run_id = flow_run.get_id()
    try:
        async with get_client() as client:
            await client.update_flow_run(UUID(flow_run_id), tags=sorted({*flow_run.get_tags(), *tags}))
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("The flow run could not be tagged: %s", error)


def completed_earlier(config: RetrainConfig, job: FinishedJob) -> RunManifest | None:
    """The manifest of an earlier flow run that completed the same: this run, job and evaluation, with every answer.

    None if none did.

    A flow run that resumes after a crash is not an earlier one. A manifest that this version can't read counts as
    none: the steps find what they made, and it is written again.
    """
    try:
        manifest = RunManifest.model_validate_json(job.run.manifest_path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    # What was not answered is asked again, and the number of requests at once changes no answer.
    settings = [one.evaluation.model_dump(exclude={"concurrency"}) for one in (manifest.config, config)]
    scores = [manifest.evaluation.base, manifest.evaluation.fine_tuned] if manifest.evaluation else []
    is_complete = not any(one.n_errors and one.n_answered for one in scores)
    is_same = manifest.job.id == job.job_id and settings[0] == settings[1] and is_complete
    return manifest if is_same and manifest.flow_run_id != flow_run.get_id() else None


def ended_unchanged(manifest: RunManifest) -> RunManifest:
    """End the flow run as "Unchanged", with a link to the flow run that trained this model.

    Prefect takes a state that a flow returns as its end, and gives callers the state's data.
    """
    url = url_for("flow-run", obj_id=manifest.flow_run_id, url_type="ui") if manifest.flow_run_id else None
    message = (
        f"Data and settings are those of the run completed at {manifest.completed_at}, so no job was started. "
        f"Its model: {manifest.fine_tuned_model}. Its run: {url or manifest.directory}"
    )
    extra = {"step": "unchanged", "seconds": 0.0, "summary": message}
    get_run_logger().info("%s", message, extra=extra)
    return cast("RunManifest", Completed(name="Unchanged", message=message, data=manifest))


async def label_flow_run(labels: dict[str, str]) -> None:
    """Set labels of this flow run; outside of one there is nothing to label."""
    flow_run_id = flow_run.get_id()
    if flow_run_id is None:
        return
    try:
        async with get_client() as client:
            await _update_labels(client, UUID(flow_run_id), dict(labels))
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning(
            "The flow run could not be labelled, so that cancelling it may not find its job: %s", error
        )


async def _update_labels(client: PrefectClient, flow_run_id: UUID, labels: dict[str, Any]) -> None:
    # On SQLite, Prefect answers 503 where it writes a task run down in the same moment. Its client tries again at once
    # where Retune's guard says so, else after ever longer pauses; together it is a minute either way.
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            await client.update_flow_run_labels(flow_run_id, labels)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return


def in_states(*types: StateType) -> FlowRunFilterState:
    """Flow runs in any of these states."""
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))
