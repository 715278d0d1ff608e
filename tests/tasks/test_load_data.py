"""From a source to stored examples: what makes another run, and what is written again."""

import asyncio
import gzip
import json
import logging
import threading
from pathlib import Path

import pytest
from prefect import task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from step_runs import NOBODY, Rows, configuration, run_key, write_csv

from retune.config_file import parse_config
from retune.errors import SourceError
from tasks.load_data import load_data
from tasks.runtime.progress import PROGRESS_LOGGER, ProgressReport

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def text_of(rows: Rows) -> bytes:
    return "".join(f"{question},{answer}\n" for question, answer in [("q", "a"), *rows]).encode()


def hidden(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.startswith(".unfinished")]


async def test_loading_again_keeps_what_is_there(tmp_path: Path, rows: Rows) -> None:
    config = configuration(write_csv(tmp_path / "data.csv", rows))
    first = await load_data(config)
    inode = first.examples.directory.stat().st_ino
    assert await load_data(config) == first
    assert first.examples.directory.stat().st_ino == inode
    assert first.examples.directory == first.run.path("examples")
    assert hidden(first.run.directory.parent) == []


async def test_the_run_goes_by_the_examples_and_not_by_their_packing(tmp_path: Path, rows: Rows) -> None:
    plain = write_csv(tmp_path / "data.csv", rows)
    key = await run_key(configuration(plain))
    with gzip.open(tmp_path / "packed.csv.gz", "wb") as stream:
        stream.write(text_of(rows))
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps({"a": a, "q": q}) + "\n" for q, a in rows))
    (tmp_path / "parts").mkdir()
    write_csv(tmp_path / "parts" / "1.csv", rows[:20])
    write_csv(tmp_path / "parts" / "2.csv", [(a, q) for q, a in rows[20:]], "a", "q")
    for source in ("packed.csv.gz", "lines.jsonl", "parts"):
        assert await run_key(configuration(str(tmp_path / source))) == key, source
    assert await run_key(configuration(write_csv(tmp_path / "turned.csv", rows[::-1]))) != key
    assert await run_key(configuration(write_csv(tmp_path / "more.csv", [*rows, ("one", "more")]))) != key


@pytest.mark.parametrize("name", ["columns/tokens", "columns/band-0", "train.jsonl", "problems.jsonl"])
@pytest.mark.parametrize("is_there", [True, False])
async def test_a_damaged_file_of_an_earlier_run_is_written_again(
    tmp_path: Path, rows: Rows, name: str, is_there: bool
) -> None:
    config = configuration(write_csv(tmp_path / "data.csv", [*rows, rows[0], ("ada@example.com", "x")]))
    loaded = await load_data(config)
    damaged = loaded.examples.directory / name
    content = damaged.read_bytes()
    assert content
    damaged.unlink()
    if is_there:
        damaged.write_bytes(content[:-1])
    assert await load_data(config) == loaded
    assert damaged.read_bytes() == content


async def test_what_a_split_goes_by_changes_the_run(tmp_path: Path, rows: Rows) -> None:
    split = {"method": "group", "column": "who"}
    keys = [
        await run_key(
            configuration(
                write_csv(
                    tmp_path / f"{n}.csv", [(*row, str(place % n)) for place, row in enumerate(rows)], *"qa", "who"
                ),
                split=split,
            )
        )
        for n in (20, 30)
    ]
    assert len(set(keys)) == 2


async def test_a_source_that_can_not_be_read_leaves_nothing(tmp_path: Path, rows: Rows) -> None:
    source = write_csv(tmp_path / "data.csv", rows)
    with pytest.raises(SourceError, match="has no column"):
        await load_data(configuration(source, data={"user_column": "question"}))
    assert list((tmp_path / "retune-home" / "runs").iterdir()) == []


async def test_loading_that_nobody_waits_for_ends_and_leaves_nothing(tmp_path: Path, rows: Rows) -> None:
    config = configuration(write_csv(tmp_path / "data.csv", rows))
    loading = asyncio.create_task(load_data.fn(config))
    loop, read, may_go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def hold(_record: logging.LogRecord) -> bool:
        loop.call_soon_threadsafe(read.set)
        return may_go_on.wait(timeout=60)

    progress = logging.getLogger(PROGRESS_LOGGER)
    progress.addFilter(hold)
    try:
        await asyncio.wait_for(read.wait(), timeout=60)
        loading.cancel()
        await asyncio.sleep(0.2)
        assert not loading.done(), "files would be cleared away from under the thread that writes them"
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await loading
    finally:
        may_go_on.set()
        progress.removeFilter(hold)
    assert list((tmp_path / "retune-home" / "runs").iterdir()) == []


async def test_examples_for_another_method_are_named_as_such(tmp_path: Path) -> None:
    answer = [{"role": "assistant", "content": "yes"}]
    pair = {
        "input": {"messages": [{"role": "user", "content": "well?"}]},
        "preferred_output": answer,
        "non_preferred_output": [{"role": "assistant", "content": "no"}],
    }
    path = tmp_path / "pairs.jsonl"
    path.write_text((json.dumps(pair) + "\n") * 20)
    config = parse_config({"data": {"source": str(path)}, "provider": {"base_url": NOBODY}})
    with pytest.raises(SourceError, match=r"can train the method dpo, not supervised") as caught:
        await load_data(config)
    assert "retune check --method dpo" in str(caught.value.hint)


@task
async def make_progress(key: str, after_seconds: float) -> None:
    async with ProgressReport(key=key, step="load", description="", after_seconds=after_seconds) as progress:
        progress.advance(3, 4)


async def test_quick_step_leaves_no_progress_artifact() -> None:
    await make_progress("progress-short", 600.0)
    await make_progress("progress-long", 0.0)
    async with get_client() as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["progress-short", "progress-long"]))
        found = await client.read_artifacts(artifact_filter=wanted)
    assert [(artifact.key, float(str(artifact.data))) for artifact in found] == [("progress-long", 75.0)]
