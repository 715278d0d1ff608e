"""The announcement of new data: sent again until Prefect has it, and then never again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy, faulty_proxy
from prefect.client.orchestration import PrefectClient
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
)
from step_runs import AT_ONCE, ROWS, announcements, configuration, write_csv

from flows.watch_data import watch_data
from retune.errors import AnnouncementError
from tasks.runtime.watch_state import load_state

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """What stands between the announcing task and Prefect."""
    auth = PREFECT_API_AUTH_STRING.value()
    with faulty_proxy(PREFECT_API_URL.value() or "") as proxy:
        monkeypatch.setattr("tasks.announce_data.get_client", lambda: PrefectClient(proxy.base_url, auth_string=auth))
        yield proxy


@pytest.mark.slow
@pytest.mark.parametrize("is_first", [True, False])
async def test_a_crash_after_the_event_loses_nothing(
    tickets: Path, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    async def crash(*_: object) -> None:
        raise KeyboardInterrupt

    config = configuration(str(tickets))
    if not is_first:
        await watch_data(config, AT_ONCE)
        write_csv(tickets, [*ROWS, ("one", "more")])
    before = len(await announcements(config))
    with monkeypatch.context() as patch:
        patch.setattr("tasks.announce_data.save_state", crash)
        with pytest.raises(KeyboardInterrupt):
            await watch_data(config, AT_ONCE)
    assert len(await announcements(config)) == before + 1
    await watch_data(config, AT_ONCE)
    assert (await watch_data(config, AT_ONCE)).status == "unchanged"
    assert len(await announcements(config)) == before + 1


async def test_an_event_that_prefect_did_not_take_is_sent_again(tickets: Path, proxy: FaultyProxy) -> None:
    config = configuration(str(tickets))
    proxy.faults.append(Fault("POST", "/events", status=400))
    with pytest.raises(AnnouncementError, match="did not take"):
        await watch_data(config, AT_ONCE)
    assert await announcements(config) == []
    assert not (await load_state(config)).announced
    assert (await watch_data(config, AT_ONCE)).status == "announced"
    assert len(await announcements(config)) == 1


@pytest.mark.slow
async def test_an_event_that_may_be_lost_is_sent_again_as_the_same(
    tickets: Path, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(str(tickets))
    nothing = b'{"events": [], "total": 0, "next_page": null}'
    proxy.faults.append(Fault("POST", "/events/filter", times=9, status=200, body=nothing))
    with monkeypatch.context() as patch:
        patch.setattr("tasks.announce_data._RECORDED_WITHIN_SECONDS", 0.0)
        with pytest.raises(AnnouncementError, match="did not record"):
            await watch_data(config, AT_ONCE)
    assert not (await load_state(config)).announced
    # This time it gets there, and the answer is lost.
    proxy.faults[:] = [Fault("POST", "/events", after_forwarding=True)]
    assert (await watch_data(config, AT_ONCE)).status == "announced"
    assert len(await announcements(config)) == 1
