"""Runs that send no heartbeats are rescheduled, and only those."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed, Crashed, Pending, Running
from retrain_runs import events
from waiting import wait_for_async

from flows.reconcile import reconcile
from flows.retrain import retrain
from tasks.reschedule_lost_runs import Patience, reschedule_lost_runs

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LONG, NONE = timedelta(hours=1), timedelta(seconds=0)
PATIENT = Patience(
    running=LONG, silent=LONG, starting=LONG, waiting_for_container=LONG, crashed=LONG, seconds_until_confirmed=0.0
)


@pytest.fixture
async def deployment() -> AsyncIterator[UUID]:
    async with get_client() as client:
        flow = await client.create_flow(retrain)
        made = await client.create_deployment(flow_id=flow, name=f"test-{uuid4().hex}")
        yield made
        # Nobody else's look is to find its runs.
        of_it = DeploymentFilter(id=DeploymentFilterId(any_=[made]))
        for run in await client.read_flow_runs(deployment_filter=of_it):
            await client.delete_flow_run(run.id)
        await client.delete_deployment(made)


async def run_in(state: State, deployment: UUID | None) -> UUID:
    async with get_client() as client:
        if deployment is None:
            return (await client.create_flow_run(retrain, parameters={}, state=state)).id
        run = await client.create_flow_run_from_deployment(deployment)
        await client.set_flow_run_state(run.id, state, force=True)
        return run.id


async def state_of(flow_run: UUID) -> str | None:
    async with get_client() as client:
        state = (await client.read_flow_run(flow_run)).state
    return state.name if state else None


@pytest.mark.parametrize(
    ("state", "impatient"),
    [
        (Running(), replace(PATIENT, running=NONE, silent=NONE)),
        (Pending(), replace(PATIENT, starting=NONE)),
        (Pending(name="InfrastructurePending"), replace(PATIENT, waiting_for_container=NONE)),
        (Crashed(), replace(PATIENT, crashed=NONE)),
    ],
    ids=["running", "pending", "waiting for its container", "crashed"],
)
async def test_lost_run_is_rescheduled(deployment: UUID, state: State, impatient: Patience) -> None:
    lost, by_hand = await run_in(state, deployment), await run_in(state, None)
    ended = await run_in(Completed(), deployment)
    if state.is_running():
        await beat(lost)
    assert await reschedule_lost_runs(PATIENT) == []
    assert len(await reschedule_lost_runs(impatient)) == 1
    assert await state_of(lost) == "AwaitingRetry"
    assert (await state_of(by_hand), await state_of(ended)) == (state.name, "Completed")


async def test_run_with_heartbeats_is_left_alone(deployment: UUID) -> None:
    # It has been running for long, so that its heartbeat alone speaks for it.
    alive = await run_in(Running(), deployment)
    await beat(alive)
    assert await reschedule_lost_runs(replace(PATIENT, running=NONE)) == []
    assert await state_of(alive) == "Running"


async def test_run_of_a_worker_without_heartbeats_is_left_alone(deployment: UUID) -> None:
    quiet = await run_in(Running(), deployment)
    assert await reschedule_lost_runs(replace(PATIENT, running=NONE, silent=NONE)) == []
    assert await state_of(quiet) == "Running"


async def test_flow_leaves_young_runs_alone(deployment: UUID) -> None:
    young = await run_in(Running(), deployment)
    assert await reconcile() == []
    assert await state_of(young) == "Running"


async def beat(flow_run: UUID) -> None:
    """One heartbeat, until Prefect has recorded it."""

    async def recorded() -> list[dict[str, Any]]:
        return await events("prefect.flow-run.heartbeat", str(flow_run))

    emit_event("prefect.flow-run.heartbeat", resource={"prefect.resource.id": f"prefect.flow-run.{flow_run}"})
    await wait_for_async(recorded, "the heartbeat")
