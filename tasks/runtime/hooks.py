"""What is done when a flow run ends: Prefect calls the hooks among these, also from the worker.

The worker passes a hook's arguments by name, so their names are Prefect's.
"""

import os
from typing import Any

import httpx
import openai
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.utilities.urls import url_for
from pydantic import ValidationError

from retune.config import RetrainConfig
from retune.errors import OverBudgetError, RetuneError
from retune.provider.errors import one_line
from retune.results.links import report_url
from retune.results.manifest import RunManifest
from retune.results.run_message import RunNotice
from tasks.runtime.cancelling import cancel_job_of, log_not_cancelled
from tasks.runtime.events import emit_run_event
from tasks.runtime.provider_client import without_keys

_KEY_VARIABLES = ("OPENAI_API_KEY", "RETUNE_SERVER_API_KEY")
_TROUBLE = (RetuneError, openai.OpenAIError, httpx.HTTPError, PrefectException)


async def cancel_remote_job(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """On cancellation: cancel the job that the flow run waits for."""
    try:
        await cancel_job_of(flow_run.id)
    except _TROUBLE as error:
        log_not_cancelled(error, flow_run.id)


async def notify_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """On failure: emit `retune.run.failed`, or `over-budget` where the cost was refused."""
    error = await _error_of(state)
    model, data = _intent(flow_run)
    reason = error.message if isinstance(error, RetuneError) else _reason(state, error)
    advice = error.hint if isinstance(error, RetuneError) else None
    notice = RunNotice(
        outcome="over-budget" if isinstance(error, OverBudgetError) else "failed",
        model=model,
        data=data,
        cost_is_estimated=False,
        flow_run_url=flow_run_url(flow_run),
        error=_without_secrets(reason),
        advice=_without_secrets(advice) if advice else None,
    )
    emit_run_event(notice, await _as_it_is_now(flow_run))


def flow_run_url(flow_run: FlowRun) -> str | None:
    """Where the Prefect UI shows a flow run."""
    return url_for("flow-run", obj_id=flow_run.id, url_type="ui")


def notify_success(config: RetrainConfig, manifest: RunManifest, *, is_unchanged: bool) -> None:
    """Emit `retune.run.succeeded`, or `unchanged` where an earlier flow run did the same."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    flow_run, job, evaluation = context.flow_run, manifest.job, manifest.evaluation
    notice = RunNotice(
        outcome="unchanged" if is_unchanged else "succeeded",
        model=config.training.model,
        data=config.data.label,
        fine_tuned_model=manifest.fine_tuned_model,
        exact_match=evaluation.fine_tuned.exact_match if evaluation else None,
        exact_match_base=evaluation.base.exact_match if evaluation else None,
        n_test=evaluation.fine_tuned.n if evaluation else None,
        seconds=sum(step.seconds for step in manifest.durations),
        cost_usd=job.cost_usd,
        cost_is_estimated=job.cost_is_estimated,
        report=report_url(manifest.report) or str(manifest.report),
        flow_run_url=flow_run_url(flow_run),
    )
    emit_run_event(notice, flow_run)


async def _error_of(state: State[Any]) -> BaseException | None:
    if isinstance(state.data, BaseException):
        return state.data
    if state.data is None:
        return None
    try:
        error = await state.aresult(raise_on_failure=False)
    except Exception:  # noqa: BLE001 - Prefect raises many kinds where it kept no exception; the message says enough
        return None
    return error if isinstance(error, BaseException) else None


def _reason(state: State[Any], error: BaseException | None) -> str:
    return one_line(error) if error else state.message or state.name or "no reason given"


def _intent(flow_run: FlowRun) -> tuple[str, str]:
    try:
        config = RetrainConfig.model_validate(flow_run.parameters.get("config"))
    except (ValidationError, RetuneError):
        return "a model", "unreadable settings"
    return config.training.model, config.data.label


async def _as_it_is_now(flow_run: FlowRun) -> FlowRun:
    # The worker's own copy was made before the run was started, and named.
    try:
        async with get_client() as client:
            return await client.read_flow_run(flow_run.id)
    except (httpx.HTTPError, PrefectException):
        return flow_run


def _without_secrets(text: str) -> str:
    for name in _KEY_VARIABLES:
        if key := os.environ.get(name):
            text = text.replace(key, "[the API key]")
    return " ".join(without_keys(text).split())
