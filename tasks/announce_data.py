"""Announce that a source holds new examples, so that a trigger can start a training, and save that it was announced."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

import httpx
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient, get_client
from prefect.events.filters import EventFilter, EventIDFilter, EventOccurredFilter
from prefect.events.related import related_resources_from_run_context
from prefect.events.schemas.events import Event, Resource
from prefect.exceptions import PrefectException

from retune.config import RetrainConfig
from retune.errors import AnnouncementError
from retune.training_lines.keys import JsonObject
from retune.watch.config import CountMethod, WatchConfig
from retune.watch.files import WatchFiles, source_hash, watch_key
from retune.watch.snapshot import SourceSnapshot
from retune.watch.state import Counted, WatchState, with_announcement
from tasks.runtime.steps import step
from tasks.runtime.watch_state import WatchResult, load_state, save_state

DATA_CHANGED = "retune.data.changed"
"""Name of the event."""

_RECORDED_WITHIN_SECONDS = 30.0
_POLL_SECONDS = 0.25


@step("announce", cache_policy=NO_CACHE, persist_result=False)
async def announce_data(config: RetrainConfig, watch: WatchConfig, result: WatchResult) -> WatchResult:
    """Emit the event `retune.data.changed`; save the announcement once Prefect has the event in its database.

    A process that ends in between announces again at the next check, which starts no second job: the run key finds the
    first one. Where another worker has announced something since the count, nothing is announced; the next check
    counts again.

    Raises:
        AnnouncementError: Prefect did not take the event, or did not record it in time.
        RunDirectoryError: Retune's home directory can't be written.
    """
    state = await load_state(config)
    if result.snapshot is None or result.counted is None or state.counted != result.counted:
        return result.model_copy(update={"status": "unchanged"})
    event_id = _event_id(config, state, result.counted)
    await emit(_event(config, result.snapshot, result.counted, event_id))
    if watch.count is CountMethod.CONTENT:
        WatchFiles(config).keep_counted()
    await save_state(config, with_announcement(state, result.counted, result.snapshot, str(event_id)))
    return result.model_copy(update={"status": "announced", "event_id": str(event_id)})


async def emit(event: Event) -> None:
    """Send an event, and return when Prefect can be asked for it.

    Prefect's own `emit_event` sends in the background and says nothing of what got lost on the way. This is its plain
    HTTP endpoint, which answers once the server has the event; that it is recorded too is seen by reading it.

    Raises:
        AnnouncementError: The server did not take it, or can't find it again within half a minute.
    """
    try:
        async with get_client() as client:
            event = event.model_copy(update={"related": await related_resources_from_run_context(client)})
            await client.request("POST", "/events", json=[event.model_dump(mode="json")])
            await _wait_until_recorded(client, event)
    except (httpx.HTTPError, PrefectException) as error:
        raise AnnouncementError(
            f"Prefect did not take the event {event.event}: {type(error).__name__}.",
            hint="Nothing is lost: the next check sends it again.",
        ) from error


async def _wait_until_recorded(client: PrefectClient, event: Event) -> None:
    deadline = time.monotonic() + _RECORDED_WITHIN_SECONDS
    while not await _is_recorded(client, event):
        if time.monotonic() > deadline:
            raise AnnouncementError(
                f"Prefect took the event {event.event} {event.id} and did not record it within "
                f"{_RECORDED_WITHIN_SECONDS:.0f} seconds.",
                hint="See the event persister's lines in the server's log; the next check sends the event again.",
            )
        await asyncio.sleep(_POLL_SECONDS)


async def _is_recorded(client: PrefectClient, event: Event) -> bool:
    # Without a time it would be looked for in half a year of events.
    around = EventOccurredFilter(
        since=event.occurred - timedelta(days=1),
        until=event.occurred + timedelta(days=1),
    )
    found = await client.read_events(EventFilter(id=EventIDFilter(id=[event.id]), occurred=around), limit=1)
    return bool(found.events)


def _event(config: RetrainConfig, snapshot: SourceSnapshot, counted: Counted, event_id: UUID) -> Event:
    payload: JsonObject = {
        "source": snapshot.source,
        "fingerprint": counted.fingerprint,
        "n_examples": counted.n_examples,
        "n_new": counted.n_new,
        "config": config.model_dump(mode="json"),
    }
    resource = {
        "prefect.resource.id": f"retune.data.{source_hash(config.data)}",
        "prefect.resource.name": config.data.label,
    }
    return Event(
        id=event_id,
        event=DATA_CHANGED,
        occurred=datetime.now(UTC),
        resource=Resource(resource),
        payload=payload,
    )


def _event_id(config: RetrainConfig, state: WatchState, counted: Counted) -> UUID:
    """The same for the same announcement, however often it is tried, and another one for every later one."""
    before = state.announced.event_id if state.announced else "first"
    return uuid5(NAMESPACE_URL, f"{DATA_CHANGED} {watch_key(config)} {before} {counted.fingerprint}")
