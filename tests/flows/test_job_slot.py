"""At most so many jobs of a model family at once, and nobody waits who has nothing to wait for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from faulty_proxy import faulty_proxy
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import concurrency
from prefect.exceptions import Abort
from prefect.states import Cancelled
from retrain_runs import configuration, flow_runs_on, log_of, write_tickets
from waiting import wait_for_async

from flows.retrain import retrain
from retune.data.cost.base_models import limit_name, model_family
from tasks.runtime import locks

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LIMIT = limit_name(model_family("baseline-text"))


@pytest.fixture
async def one_at_a_time() -> AsyncIterator[None]:
    async with get_client() as client:
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=1))
        yield
        await client.delete_global_concurrency_limit_by_name(LIMIT)


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    # The stem is the data's label, by which the tests find their runs.
    return write_tickets(tmp_path / f"{tmp_path.name}.csv")


async def places_taken() -> int:
    async with get_client() as client:
        return (await client.read_global_concurrency_limit_by_name(LIMIT)).active_slots


async def is_waiting(data: Path) -> bool:
    runs = await flow_runs_on(data)
    return bool(runs) and "Waiting for another job to end" in await log_of(runs[0])


@pytest.mark.slow
@pytest.mark.usefixtures("one_at_a_time")
async def test_a_job_waits_for_its_place_and_gives_it_back(
    training_server: str, tickets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_SLOT_TIMEOUT_SECONDS", 0.5)
    with faulty_proxy(training_server) as proxy:
        config = configuration(proxy.base_url, tickets)
        async with concurrency(LIMIT):
            running = asyncio.create_task(retrain(config))
            await wait_for_async(lambda: is_waiting(tickets), "the run to wait")
            assert proxy.count("POST", "/fine_tuning/jobs") == 0
        manifest = await running
        assert await places_taken() == 0
        # Its job has ended: it needs no place, though none is free.
        async with concurrency(LIMIT):
            again = await retrain(config)
        assert proxy.count("POST", "/fine_tuning/jobs") == 1
    assert again.job.id == manifest.job.id


@pytest.mark.slow
@pytest.mark.usefixtures("one_at_a_time")
async def test_a_run_that_waits_for_a_place_can_be_cancelled(
    training_server: str, tickets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_SLOT_TIMEOUT_SECONDS", 0.2)
    with faulty_proxy(training_server) as proxy:
        async with concurrency(LIMIT):
            running = asyncio.create_task(retrain(configuration(proxy.base_url, tickets)))
            await wait_for_async(lambda: is_waiting(tickets), "the run to wait")
            (run,) = await flow_runs_on(tickets)
            async with get_client() as client:
                await client.set_flow_run_state(run.id, Cancelled(), force=True)
            with pytest.raises(Abort):
                await running
        assert proxy.count("POST", "/fine_tuning/jobs") == 0
    assert await wait_for_async(nobody_holds_a_place, "the place")


async def nobody_holds_a_place() -> bool:
    return await places_taken() == 0
