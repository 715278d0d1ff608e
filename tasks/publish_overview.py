"""The overview of all models, as an artifact in the Prefect UI."""

import asyncio
from datetime import UTC, datetime

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from retune.private_files import home_directory
from retune.results.overview import ListedRun, overview_markdown, read_past_runs, score_figure
from retune.results.static_images import draw_figure
from tasks.runtime.flow_run import in_states

_FLOW = "retrain"
_MOST_LISTED = 10


@task(cache_policy=NO_CACHE)
async def publish_overview() -> int:
    """Read the manifests and ask Prefect, and publish the artifact `overview`.

    Returns:
        How many complete runs there are.
    """
    runs, n_unreadable = await asyncio.to_thread(read_past_runs, home_directory() / "runs")
    figure = score_figure(runs)
    image = await asyncio.to_thread(draw_figure, figure, "svg") if figure else None
    failed = await _flow_runs(FlowRunSort.END_TIME_DESC, StateType.FAILED, StateType.CRASHED)
    scheduled = await _flow_runs(FlowRunSort.EXPECTED_START_TIME_ASC, StateType.SCHEDULED)
    markdown = overview_markdown(
        runs, now=datetime.now(UTC), image=image, failures=failed, scheduled=scheduled, n_unreadable=n_unreadable
    )
    await acreate_markdown_artifact(key="overview", markdown=markdown, description="All models that were retrained")
    return len(runs)


async def _flow_runs(sort: FlowRunSort, *states: StateType) -> list[ListedRun]:
    async with get_client() as client:
        runs = await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[_FLOW])),
            flow_run_filter=FlowRunFilter(state=in_states(*states)),
            sort=sort,
            limit=_MOST_LISTED,
        )
    return [
        ListedRun(
            id=str(run.id),
            name=run.name,
            moment=run.end_time or run.expected_start_time,
            says=(run.state.message or "") if run.state else "",
        )
        for run in runs
    ]
