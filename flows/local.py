"""Running the pipeline in this process, against a Prefect server that may end right after it."""

import asyncio
import contextlib
import time
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.events.worker import EventsWorker
from prefect.exceptions import Abort
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.retrain import retrain
from retune.config import RetrainConfig
from retune.errors import RunStoppedError
from retune.manifest import RunManifest

_FLUSH_TIMEOUT_SECONDS = 5.0


async def retrain_and_flush(config: RetrainConfig, api_url: str, password: str | None) -> RunManifest:
    """Run the pipeline; return when Prefect has its logs and the end of all its task runs.

    Args:
        config: The run's configuration.
        api_url: The Prefect API to use.
        password: Its password, as `name:password`; None for what Prefect's own settings say.

    Raises:
        RunStoppedError: Somebody cancelled the run in Prefect.
        Exception: Whatever the flow raised.
    """
    # Not in the environment, where every process that this one starts would find it.
    with temporary_settings({PREFECT_API_URL: api_url, **({PREFECT_API_AUTH_STRING: password} if password else {})}):
        try:
            state = await retrain(config, return_state=True)
        except Abort:
            await _flush(None)
            raise RunStoppedError(
                "The run was cancelled in Prefect, and its fine-tuning job with it.",
                hint="Running the same command again starts a new job.",
            ) from None
        await _flush(state.state_details.flow_run_id)
        manifest: RunManifest = await state.aresult()
        return manifest


async def _flush(flow_run_id: UUID | None) -> None:
    # Both workers send in the background, and the server writes task runs from events, a moment later.
    for worker in (APILogWorker, EventsWorker):
        await asyncio.to_thread(worker.drain_all, timeout=_FLUSH_TIMEOUT_SECONDS)
    # What became of the run is said either way, also when Prefect's server has gone.
    with contextlib.suppress(httpx.HTTPError):
        await _wait_until_recorded(flow_run_id)


async def _wait_until_recorded(flow_run_id: UUID | None) -> None:
    deadline = time.monotonic() + _FLUSH_TIMEOUT_SECONDS
    async with get_client() as client:
        this_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id] if flow_run_id else []))
        while time.monotonic() < deadline:
            task_runs = await client.read_task_runs(flow_run_filter=this_run)
            if all(run.state and run.state.is_final() for run in task_runs):
                return
            await asyncio.sleep(0.1)
