"""Two flow runs that mean the same run: one works, the other waits for it or says that it is taken."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from faulty_proxy import faulty_proxy
from prefect.client.orchestration import get_client
from prefect.exceptions import Abort
from prefect.states import Cancelled
from retrain_runs import configuration, flow_runs_on, log_of, write_tickets
from waiting import wait_for_async

from flows.retrain import retrain
from retune.errors import RunBusyError
from retune.run import Run, exclusive
from tasks.runtime import locks

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    # The stem is the data's label, by which the tests find their runs.
    return write_tickets(tmp_path / f"{tmp_path.name}.csv")


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_SECONDS_BETWEEN_TRIES", 0.2)
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", str(uuid4()))


@pytest.fixture
def elsewhere() -> Iterator[ExitStack]:
    """Locks held as if by another process."""
    with ExitStack() as stack:
        yield stack


async def those_that_wait(data: Path) -> int:
    return sum(["continues when that one has ended" in await log_of(run) for run in await flow_runs_on(data)])


def run_in(directory: Path) -> Run:
    return Run(key="any", directory=directory, directory_id="any")


@pytest.mark.slow
@pytest.mark.usefixtures("deployed")
async def test_a_deployed_run_waits_for_another(training_server: str, tickets: Path, elsewhere: ExitStack) -> None:
    config = configuration(training_server, tickets)
    manifest = await retrain(config)
    elsewhere.enter_context(exclusive(run_in(manifest.directory)))
    waiting = asyncio.create_task(retrain(config))
    await wait_for_async(lambda: those_that_wait(tickets), "the run to wait")
    elsewhere.close()
    assert (await waiting).job.id == manifest.job.id


@pytest.mark.usefixtures("deployed")
async def test_two_at_once_pay_one_job(training_server: str, tickets: Path) -> None:
    with faulty_proxy(training_server) as proxy:
        config = configuration(proxy.base_url, tickets)
        first, second = await asyncio.gather(retrain(config), retrain(config))
        assert proxy.count("POST", "/fine_tuning/jobs") == 1
    assert first.job.id == second.job.id


@pytest.mark.slow
@pytest.mark.usefixtures("deployed")
async def test_a_run_that_waits_can_be_cancelled(training_server: str, tickets: Path, elsewhere: ExitStack) -> None:
    config = configuration(training_server, tickets)
    manifest = await retrain(config)
    elsewhere.enter_context(exclusive(run_in(manifest.directory)))
    waiting = asyncio.create_task(retrain(config))
    await wait_for_async(lambda: those_that_wait(tickets), "the run to wait")
    async with get_client() as client:
        await client.set_flow_run_state((await flow_runs_on(tickets))[-1].id, Cancelled(), force=True)
    with pytest.raises(Abort):
        await waiting


@pytest.mark.slow
async def test_outside_a_deployment_a_busy_run_is_an_error_at_once(
    training_server: str, tickets: Path, elsewhere: ExitStack
) -> None:
    config = configuration(training_server, tickets)
    manifest = await retrain(config)
    elsewhere.enter_context(exclusive(run_in(manifest.directory)))
    with pytest.raises(RunBusyError, match="Another process is working on this run"):
        await retrain(config)
