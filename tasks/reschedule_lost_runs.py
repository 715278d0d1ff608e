"""Reschedule flow runs whose process is lost, whether Prefect knows that or still takes them for alive.

Automations do it within minutes (`deployments/automations.py`). They forget what they wait for when they are changed,
miss events that were lost, never hear of a process that ended before its first heartbeat, and after a restart of the
server hear late of what follows from before it (measured: after 15 minutes). This looks at the states themselves.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from prefect.states import AwaitingRetry

from tasks.runtime.flow_run import in_states

_FLOW = "retrain"
_MOST_AT_ONCE = 200
# What crashed earlier and was left so, somebody left so.
_CRASHED_WITHIN = timedelta(hours=1)
# The first heartbeat comes with the state, from another clock.
_CLOCKS_DIFFER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a run may stay in a state: a few minutes longer than the automation that usually reschedules it.

    Attributes:
        running: One that runs; after that its newest heartbeat counts.
        silent: One that runs, since its newest heartbeat.
        starting: One whose process has not started.
        waiting_for_container: One whose container is awaited; pulling an image may take long.
        crashed: One that Prefect knows to be lost.
        seconds_until_confirmed: After an outage of Prefect's server healthy runs look silent, until their next
            heartbeat.
    """

    running: timedelta = timedelta(minutes=6)
    silent: timedelta = timedelta(minutes=6)
    starting: timedelta = timedelta(minutes=10)
    waiting_for_container: timedelta = timedelta(minutes=45)
    crashed: timedelta = timedelta(minutes=3)
    seconds_until_confirmed: float = 75.0

    def of(self, state: State) -> timedelta:
        """How long a run may be in this state."""
        if state.type is StateType.RUNNING:
            return self.running
        if state.type is StateType.CRASHED:
            return self.crashed
        return self.waiting_for_container if state.name == "InfrastructurePending" else self.starting


_PATIENCE = Patience()


@task(cache_policy=NO_CACHE, persist_result=False)
async def reschedule_lost_runs(patience: Patience = _PATIENCE) -> list[str]:
    """Find lost runs, check again a while later, and reschedule those that are still lost.

    A run that is still alive holds its lock (`tasks.runtime.locks.exclusive_run`), so no second job is created.

    Args:
        patience: How long runs may stay in their states.

    Returns:
        Their names.
    """
    async with get_client() as client:
        suspected = {run.id async for run in _lost_runs(client, patience)}
        if not suspected:
            return []
        await asyncio.sleep(patience.seconds_until_confirmed)
        lost = [run async for run in _lost_runs(client, patience) if run.id in suspected]
        for run in lost:
            await client.set_flow_run_state(
                run.id, AwaitingRetry(message="Rescheduled: its process sent no heartbeat."), force=True
            )
            get_run_logger().warning("%s is rescheduled: its process sent no heartbeat.", run.name)
    return [run.name for run in lost]


async def _lost_runs(client: PrefectClient, patience: Patience) -> AsyncIterator[FlowRun]:
    now = datetime.now(UTC)
    lately = FlowRunFilterEndTime(after_=now - _CRASHED_WITHIN)
    for wanted in (
        FlowRunFilter(state=in_states(StateType.RUNNING, StateType.PENDING)),
        FlowRunFilter(state=in_states(StateType.CRASHED), end_time=lately),
    ):
        runs = await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[_FLOW])), flow_run_filter=wanted, limit=_MOST_AT_ONCE
        )
        for run in runs:
            # What somebody runs without a deployment, no worker can start again.
            if run.deployment_id and run.state and now - run.state.timestamp > patience.of(run.state):
                heard = await _last_heartbeat(client, run.id, since=run.state.timestamp - _CLOCKS_DIFFER)
                # A worker may be set up without heartbeats: then a run that takes days sends no heartbeat.
                is_silent = run.state.type is not StateType.RUNNING if heard is None else now - heard > patience.silent
                if is_silent:
                    yield run


async def _last_heartbeat(client: PrefectClient, flow_run_id: UUID, *, since: datetime) -> datetime | None:
    wanted = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{flow_run_id}"]),
        occurred=EventOccurredFilter(since=since),
    )
    page = await client.read_events(wanted, limit=1)
    return page.events[0].occurred if page.events else None
