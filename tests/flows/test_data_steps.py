"""From a source to training files: the steps before anything is sent anywhere."""

import asyncio
import codecs
import csv
import gzip
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from faulty_proxy import faulty_proxy
from prefect import task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.settings import PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings

from retune.config import ProviderConfig, RetrainConfig
from retune.config_file import parse_config
from retune.data.cost.estimate import format_usd
from retune.data.cost.tokens import token_counter
from retune.data.text.jsonl import read_jsonl
from retune.errors import CheckError, ConfigError, SourceError
from retune.provider.files import upload_once
from retune.provider.uploads import UploadLimits
from tasks.check_data import check_data
from tasks.create_job import create_job
from tasks.limit_cost import limit_cost
from tasks.load_data import load_data
from tasks.runtime.progress import PROGRESS_LOGGER, ProgressReport
from tasks.runtime.values import CheckedData, LoadedData, TrainingFiles
from tasks.split_data import split_data
from tasks.upload_file import upload_file
from tasks.write_jsonl import write_jsonl

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

NOBODY = "http://127.0.0.1:9/v1"
Rows = Sequence[tuple[str, ...]]


@pytest.fixture(autouse=True)
def steps_without_a_flow() -> Iterator[None]:
    with temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        yield


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    # Each test's data is its own, so that it finds no result of another test.
    return [(f"question {number} 質問 of {tmp_path.name}", f"answer {number % 3}") for number in range(60)]


def write_csv(path: Path, rows: Rows, *header: str) -> str:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header or ("q", "a"), *rows])
    return str(path)


def text_of(rows: Rows) -> bytes:
    return "".join(f"{question},{answer}\n" for question, answer in [("q", "a"), *rows]).encode()


def configuration(source: str, base_url: str = NOBODY, **settings: Any) -> RetrainConfig:
    data = {"source": source, "user_column": "q", "assistant_column": "a", **settings.pop("data", {})}
    return parse_config({"data": data, "provider": {"base_url": base_url}, **settings})


def with_training(config: RetrainConfig, **settings: Any) -> RetrainConfig:
    return config.model_copy(update={"training": config.training.model_copy(update=settings)})


async def check(config: RetrainConfig, data: LoadedData) -> CheckedData:
    training = config.training
    return await check_data(data, config.split, training.model, training.hyperparameters.n_epochs)


async def write(config: RetrainConfig) -> TrainingFiles:
    checked = await check(config, await load_data(config))
    return await write_jsonl(await split_data(checked, config.split), checked.cost, config.provider)


async def prepare(config: RetrainConfig) -> TrainingFiles:
    files = await write(config)
    await limit_cost(config, files)
    return files


async def run_key(config: RetrainConfig) -> str:
    return (await load_data(config)).run.key


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


async def test_places_follow_the_source(tmp_path: Path, rows: Rows) -> None:
    doubled = [*rows, rows[0]]
    first = await load_data(configuration(write_csv(tmp_path / "data.csv", doubled)))
    config = configuration(write_csv(tmp_path / "data.csv", [("", ""), *doubled]))
    second = await load_data(config)
    assert (second.run, second.examples.content_sha256) == (first.run, first.examples.content_sha256)
    report = (await check(config, second)).report.read_text(encoding="utf-8")
    assert '"number": 63' in report.replace('"number":63', '"number": 63')


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


async def test_prefect_shows_what_the_checks_found(tmp_path: Path, rows: Rows) -> None:
    hostile = "<script>alert(1)</script> [x](javascript:alert(1)) \x00"
    config = configuration(write_csv(tmp_path / "data.csv", [*rows, (hostile, "a"), (hostile, "a"), ("empty", "")]))
    data = await load_data(config)
    with pytest.raises(CheckError, match=r"empty_content|missing_content"):
        await check(config, data)
    async with get_client() as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[f"check-{data.run.key[:12]}"]))
        (artifact,) = await client.read_artifacts(artifact_filter=wanted)
    assert artifact.type == "table"
    table: Any = json.loads(artifact.data) if isinstance(artifact.data, str) else artifact.data
    assert {"duplicate_example"} < {row["kind"] for row in table}
    assert table[0]["level"] == "error"
    assert "\x00" not in str(table)
    assert data.run.path("check_report.json").exists()


async def test_azure_gets_a_byte_order_mark_and_nobody_else(tmp_path: Path, rows: Rows) -> None:
    source = write_csv(tmp_path / "data.csv", rows)
    azure = configuration(
        source, "https://desk.openai.azure.com/openai/v1", training={"model": "gpt-4o-mini-2024-07-18"}
    )
    files = await prepare(azure)
    assert files.validation
    assert files.test
    begins = [
        file.path.read_bytes().startswith(codecs.BOM_UTF8) for file in (files.train, files.validation, files.test)
    ]
    assert begins == [True, True, False]
    assert files.train.bytes == files.train.path.stat().st_size
    plain = await prepare(configuration(source))
    assert plain.train.path.read_bytes() == files.train.path.read_bytes().removeprefix(codecs.BOM_UTF8)


async def test_a_cost_is_said_where_somebody_bills(tmp_path: Path, rows: Rows) -> None:
    source = write_csv(tmp_path / "data.csv", rows)
    free = await prepare(configuration(source, training={"max_cost_usd": 0}))
    assert free.estimated_cost_usd is None
    priced = await prepare(
        configuration(
            source,
            "https://api.openai.com/v1",
            training={"model": "gpt-4o-mini-2024-07-18", "max_cost_usd": 100, "ignore_dates": True},
        )
    )
    assert priced.estimated_cost_usd is not None
    assert 0.000001 < priced.estimated_cost_usd < 100
    assert f"estimated cost {format_usd(priced.estimated_cost_usd)}" in priced.summary


async def test_what_would_cost_too_much_ends_before_an_upload(training_server: str, tmp_path: Path, rows: Rows) -> None:
    # A server on this machine may pass on to one that bills.
    training = {"model": "unpriced", "max_cost_usd": 5}
    with faulty_proxy(training_server) as proxy:
        config = configuration(write_csv(tmp_path / "data.csv", rows), proxy.base_url, training=training)
        with pytest.raises(ConfigError, match="can't be said"):
            await prepare(config)
        assert proxy.count("POST", "/files") == 0


async def test_a_job_that_exists_is_paid_for_already(training_server: str, tmp_path: Path, rows: Rows) -> None:
    config = configuration(write_csv(tmp_path / "data.csv", rows), training_server)
    files = await prepare(config)
    dear = files.model_copy(update={"cost": files.cost.model_copy(update={"usd": 6.0})})
    limited = with_training(config, max_cost_usd=5.0)
    asking = with_training(config, approve_above_usd=5.0)
    assert (await limit_cost(asking, dear)).needs_approval
    assert not (await limit_cost(asking, files)).needs_approval
    with pytest.raises(ConfigError, match=r"would cost about \$6\.00"):
        await limit_cost(limited, dear)
    uploaded = await upload_file(files.run, files.train, config.provider)
    with pytest.raises(ConfigError, match="would cost about"):
        await limit_cost(limited, dear)
    await create_job(files.run, uploaded, None, config.training, config.provider)
    assert not (await limit_cost(limited, dear)).needs_approval
    assert not (await limit_cost(asking, dear)).needs_approval


async def test_a_file_past_the_limit_goes_up_in_parts(
    training_server: str, tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = UploadLimits(single_bytes=1_000, part_bytes=1_500)
    monkeypatch.setattr("tasks.upload_file.upload_once", partial(upload_once, limits=small))
    config = configuration(write_csv(tmp_path / "data.csv", rows), training_server)
    files = await prepare(config)
    with faulty_proxy(training_server) as proxy:
        provider = ProviderConfig(base_url=proxy.base_url)
        first = await upload_file(files.run, files.train, provider)
        second = await upload_file(files.run, files.train, provider)
        assert proxy.count("POST", "/parts") == -(-files.train.bytes // 1_500)
        assert proxy.count("POST", "/files") == 0
    assert (first.file.adopted, second.file.adopted) == (False, True)
    assert first.file.file_id == second.file.file_id


async def test_tokens_are_those_of_the_lines(tmp_path: Path, rows: Rows) -> None:
    files = await prepare(configuration(write_csv(tmp_path / "data.csv", rows), data={"system": "Be brief."}))
    counter = token_counter(files.encoding)
    for name, file in (("train", files.train), ("test", files.test)):
        assert file
        texts = [example["messages"] for example in read_jsonl(file.path)]
        expected = sum(
            1 + sum(3 + counter.count(message["role"]) + counter.count(message["content"]) for message in messages)
            for messages in texts
        )
        assert files.split_tokens[name] == expected


@task
async def make_progress(key: str, after_seconds: float) -> None:
    async with ProgressReport(key=key, step="load", description="", after_seconds=after_seconds) as progress:
        progress.advance(3, 4)


async def test_what_is_soon_over_leaves_no_progress_behind() -> None:
    await make_progress("progress-short", 600.0)
    await make_progress("progress-long", 0.0)
    async with get_client() as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["progress-short", "progress-long"]))
        found = await client.read_artifacts(artifact_filter=wanted)
    assert [(artifact.key, float(str(artifact.data))) for artifact in found] == [("progress-long", 75.0)]
