"""The data trigger on a real Prefect API: which looks announce, and what Prefect has of it afterwards."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.variables import Variable
from step_runs import AT_ONCE, ROWS, announcements, configuration, write_csv
from waiting import wait_for_async

from flows.watch_data import watch_data
from retune.config import RetrainConfig
from retune.errors import SourceError
from retune.watch.config import CountMethod, WatchConfig
from retune.watch.files import WatchFiles
from tasks.publish_watch_result import watch_artifact_key
from tasks.runtime.watch_state import load_state, variable_name

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


async def test_new_data_is_announced_once(tickets: Path) -> None:
    config = configuration(str(tickets))
    first = await watch_data(config, AT_ONCE)
    assert (first.status, first.n_examples, first.n_new) == ("announced", 30, 30)
    assert (await watch_data(config, AT_ONCE)).status == "unchanged"
    write_csv(tickets, [*ROWS[1:], ("question 0", "another answer"), ("one", "more")])
    second = await watch_data(config, AT_ONCE)
    assert (second.status, second.n_examples, second.n_new) == ("announced", 31, 2)
    events = await announcements(config)
    assert [str(event.id) for event in events] == [first.event_id, second.event_id]
    event = events[1]
    assert event.resource.name == "tickets"
    assert RetrainConfig.model_validate(event.payload["config"]) == config
    assert second.snapshot
    assert {key: event.payload[key] for key in ("source", "fingerprint", "n_examples", "n_new")} == {
        "source": str(tickets),
        "fingerprint": second.snapshot.fingerprint,
        "n_examples": 31,
        "n_new": 2,
    }
    assert [resource.role for resource in event.related][:1] == ["flow-run"]


@pytest.mark.slow
async def test_reordered_or_removed_examples_are_not_announced(tickets: Path) -> None:
    config = configuration(str(tickets))
    await watch_data(config, AT_ONCE)
    for rows in (ROWS[::-1], ROWS[:20]):
        write_csv(tickets, rows)
        seen = await watch_data(config, AT_ONCE)
        assert (seen.status, seen.n_new, seen.n_examples) == ("unchanged", 0, len(rows))
    for content in ("q,a\n", ""):
        tickets.write_text(content)  # noqa: ASYNC240
        assert (await watch_data(config, AT_ONCE)).status in {"unchanged", "empty"}
    assert len(await announcements(config)) == 1


@pytest.mark.slow
async def test_a_few_new_examples_count_towards_the_next_time(tickets: Path) -> None:
    config, watch = configuration(str(tickets)), WatchConfig(quiet_seconds=0, min_new_examples=5)
    await watch_data(config, watch)
    found = []
    for n_more in (2, 4, 6):
        write_csv(tickets, [*ROWS, *((f"new {number}", "x") for number in range(n_more))])
        seen = await watch_data(config, watch)
        found.append((seen.status, seen.n_new))
    assert found == [("too few", 2), ("too few", 4), ("announced", 6)]


@pytest.mark.slow
async def test_data_that_is_being_written_is_not_announced(tickets: Path) -> None:
    config, watch = configuration(str(tickets)), WatchConfig(quiet_seconds=1)
    looking = asyncio.create_task(watch_data(config, watch))

    async def first_look() -> bool:
        return bool((await load_state(config)).seen)

    await wait_for_async(first_look, "the first look")
    write_csv(tickets, [*ROWS, ("one", "more")])
    seen = await looking
    assert seen.status == "settling"
    assert (await watch_data(config, watch)).status == "announced"
    slow = WatchConfig(quiet_seconds=1000)
    write_csv(tickets, ROWS[1:])
    seen = await watch_data(config, slow)
    assert seen.status == "settling"
    assert seen.wait_seconds > 900
    assert [event.payload["n_examples"] for event in await announcements(config)] == [31]


async def test_two_watchers_announce_once(tickets: Path) -> None:
    config, watch = configuration(str(tickets)), WatchConfig(quiet_seconds=0.5)
    looks = await asyncio.gather(*(watch_data(config, watch) for _ in range(3)))
    # Who starts when the first one has ended finds nothing new.
    first, *others = sorted(look.status for look in looks)
    assert first == "announced"
    assert set(others) <= {"busy", "unchanged"}
    assert len(await announcements(config)) == 1


@pytest.mark.slow
async def test_two_watchers_that_share_no_home_announce_one_event(
    tickets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(str(tickets))
    await watch_data(config, AT_ONCE)
    monkeypatch.setenv("RETUNE_HOME", str(tmp_path / "another-home"))
    assert (await watch_data(config, AT_ONCE)).status == "unchanged"
    write_csv(tickets, [*ROWS, ("one", "more")])
    seen = await watch_data(config, AT_ONCE)
    # This worker doesn't know the earlier examples: one announcement too many rather than one too few.
    assert (seen.status, seen.n_new) == ("announced", 31)
    assert len(await announcements(config)) == 2


async def test_unavailable_source_fails_the_watch_without_a_change(tickets: Path) -> None:
    config = configuration(str(tickets))
    await watch_data(config, AT_ONCE)
    before = await load_state(config)
    away = tickets.rename(tickets.with_suffix(".away"))  # noqa: ASYNC240
    with pytest.raises(SourceError, match="There is no file"):
        await watch_data(config, AT_ONCE)
    assert await load_state(config) == before
    away.rename(tickets)
    assert (await watch_data(config, AT_ONCE)).status == "unchanged"
    assert len(await announcements(config)) == 1


@pytest.mark.slow
async def test_lost_memory_announces_again_and_loses_nothing(tickets: Path) -> None:
    config = configuration(str(tickets))
    first = await watch_data(config, AT_ONCE)
    await Variable.aset(variable_name(config), {"announced": "nonsense"}, overwrite=True)
    assert (await watch_data(config, AT_ONCE)).status == "announced"
    WatchFiles(config).known.write_bytes(b"nonsense")
    assert (await watch_data(config, AT_ONCE)).status == "unchanged"
    write_csv(tickets, [*ROWS, ("one", "more")])
    seen = await watch_data(config, AT_ONCE)
    assert (seen.status, seen.n_new) == ("announced", 31)
    events = await announcements(config)
    # The same announcement, said twice, is one event.
    assert [str(event.id) for event in events] == [first.event_id, seen.event_id]


@pytest.mark.slow
async def test_a_table_is_watched_by_its_watermark_alone(tmp_path: Path) -> None:
    def execute(statement: str) -> None:
        with closing(sqlite3.connect(tmp_path / "tickets.db")) as connection, connection:
            connection.execute(statement)

    execute("CREATE TABLE tickets (id integer PRIMARY KEY, q text, a text)")
    config = configuration(f"sqlite:///{tmp_path}/tickets.db", data={"query": "SELECT q, a FROM tickets"})
    query = "SELECT count(*), max(id) FROM tickets"
    by_rows = WatchConfig(quiet_seconds=0, watermark_query=query, count=CountMethod.ROWS)
    assert (await watch_data(config, by_rows)).status == "empty"
    execute("INSERT INTO tickets VALUES (1, 'where', 'here'), (2, 'who', 'me')")
    seen = await watch_data(config, by_rows)
    assert (seen.status, seen.n_new) == ("announced", 2)
    execute("DELETE FROM tickets WHERE id = 1")
    assert (await watch_data(config, by_rows)).status == "unchanged"
    execute("INSERT INTO tickets VALUES (3, 'how', 'so'), (4, 'why', 'so'), (5, 'what', 'so')")
    seen = await watch_data(config, by_rows)
    assert (seen.status, seen.n_examples, seen.n_new) == ("announced", 4, 2)


async def test_prefect_shows_what_was_seen(tmp_path: Path) -> None:
    config = configuration(write_csv(tmp_path / "<b>x [y](javascript:z) | 1.csv", ROWS))
    await watch_data(config, AT_ONCE)
    await watch_data(config, AT_ONCE)
    async with get_client() as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[watch_artifact_key(config.data)]))
        artifacts = await client.read_artifacts(artifact_filter=wanted)
        run = await client.read_flow_run(artifacts[0].flow_run_id)  # type: ignore[arg-type]
    assert len(artifacts) == 2
    assert run.name == f"watch {config.data.label}"
    texts = [str(artifact.data) for artifact in artifacts]
    assert any("Announced" in text and "| New examples | 30 |" in text for text in texts)
    for text in texts:
        html = MarkdownIt("gfm-like", {"linkify": False}).render(text)
        assert "<b>" not in html
        assert "<a " not in html
        assert html.count("<table>") == 1
