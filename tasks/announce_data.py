"""Say that a source holds new examples, so that a trigger may start a training, and remember that it was said."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import httpx
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient, get_client
from prefect.events.filters import EventFilter, EventIDFilter, EventOccurredFilter
from prefect.events.related import related_resources_from_run_context
from prefect.events.schemas.events import Event, Resource
from prefect.exceptions import PrefectException

from retune.config import RetrainConfig
from retune.data.watching.config import CountMethod, WatchConfig
from retune.data.watching.memory import Counted, WatchMemory, remember_announced
from retune.data.watching.place import WatchPlace, source_hash, watch_key
from retune.data.watching.sight import Sight
from retune.errors import AnnouncementError
from tasks.watch_memory import recall, remember
from tasks.watch_values import Look

DATA_CHANGED = "retune.data.changed"
"""Name of the event."""

_RECORDED_WITHIN_SECONDS = 30.0
_SECONDS_BETWEEN_LOOKS = 0.25


@task(cache_policy=NO_CACHE, persist_result=False)
async def announce_data(config: RetrainConfig, watch: WatchConfig, look: Look) -> Look:
    """Emit the event `retune.data.changed`; remember it once Prefect has it in its database.

    Whoever is ended in between says it again at the next look, which starts no second job: the run key finds the first
    one. Where another worker has announced something since the count, nothing is said; the next look counts anew.

    Raises:
        AnnouncementError: Prefect did not take the event, or did not record it in time.
        RunDirectoryError: Retune's home directory can't be written.
    """
    memory = await recall(config)
    if look.sight is None or look.counted is None or memory.counted != look.counted:
        return look.model_copy(update={"judgement": "unchanged"})
    event_id = _event_id(config, memory, look.counted)
    await emit(_event(config, look.sight, look.counted, event_id))
    if watch.count is CountMethod.CONTENT:
        WatchPlace(config).keep_counted()
    await remember(config, remember_announced(memory, look.counted, look.sight, str(event_id)))
    return look.model_copy(update={"judgement": "announced", "event_id": str(event_id)})


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
            hint="Nothing is lost: the next look sends it again.",
        ) from error


async def _wait_until_recorded(client: PrefectClient, event: Event) -> None:
    deadline = time.monotonic() + _RECORDED_WITHIN_SECONDS
    while not await _is_recorded(client, event):
        if time.monotonic() > deadline:
            raise AnnouncementError(
                f"Prefect took the event {event.event} {event.id} and did not record it within "
                f"{_RECORDED_WITHIN_SECONDS:.0f} seconds.",
                hint="See what the server's log says of its event persister; the next look sends it again.",
            )
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


async def _is_recorded(client: PrefectClient, event: Event) -> bool:
    # Without a time it would be looked for in half a year of events.
    around = EventOccurredFilter(
        since=event.occurred - timedelta(days=1),
        until=event.occurred + timedelta(days=1),
    )
    found = await client.read_events(EventFilter(id=EventIDFilter(id=[event.id]), occurred=around), limit=1)
    return bool(found.events)


def _event(config: RetrainConfig, sight: Sight, counted: Counted, event_id: UUID) -> Event:
    payload: dict[str, Any] = {
        "source": sight.source,
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


def _event_id(config: RetrainConfig, memory: WatchMemory, counted: Counted) -> UUID:
    """The same for the same announcement, however often it is tried, and another one for every later one."""
    before = memory.announced.event_id if memory.announced else "first"
    return uuid5(NAMESPACE_URL, f"{DATA_CHANGED} {watch_key(config)} {before} {counted.fingerprint}")
