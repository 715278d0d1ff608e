"""A base model that its provider ends: what the step before an upload does."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from faulty_proxy import Fault, faulty_proxy
from prefect.settings import PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings

from retune.config import RetrainConfig
from retune.config_file import parse_config
from retune.errors import ModelEndedError
from tasks.check_data import check_data
from tasks.create_job import create_job
from tasks.limit_cost import limit_cost
from tasks.load_data import load_data
from tasks.runtime.values import TrainingFiles
from tasks.split_data import split_data
from tasks.upload_file import upload_file
from tasks.write_jsonl import write_jsonl

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

NOBODY = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def steps_without_a_flow() -> Iterator[None]:
    with temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        yield


@pytest.fixture
def source(tmp_path: Path) -> str:
    # Each test's data is its own, so that it finds no result of another test.
    path = tmp_path / "data.csv"
    rows = [f"question {number} of {tmp_path.name},answer {number % 3}\n" for number in range(60)]
    path.write_text("q,a\n" + "".join(rows), encoding="utf-8")
    return str(path)


def configuration(source: str, base_url: str = NOBODY, **training: Any) -> RetrainConfig:
    data = {"source": source, "user_column": "q", "assistant_column": "a"}
    return parse_config({"data": data, "provider": {"base_url": base_url}, "training": training})


async def write(config: RetrainConfig) -> TrainingFiles:
    training = config.training
    loaded = await load_data(config)
    checked = await check_data(loaded, config.split, training.model, training.hyperparameters.n_epochs)
    return await write_jsonl(await split_data(checked, config.split), checked.cost, config.provider)


def ignoring_dates(config: RetrainConfig) -> RetrainConfig:
    return config.model_copy(update={"training": config.training.model_copy(update={"ignore_dates": True})})


async def test_a_base_that_has_ended_is_refused_before_an_upload(training_server: str, source: str) -> None:
    last_day, the_day = date(2027, 1, 5), date(2027, 1, 6)
    with faulty_proxy(training_server) as proxy:
        proxy.name_shutdown_date("baseline-text", "2027-01-06")
        config = configuration(source, proxy.base_url)
        files = await write(config)
        terms = await limit_cost(config, files, last_day)
        assert terms.dates is not None
        assert terms.dates.new_jobs_end == the_day
        with pytest.raises(ModelEndedError, match="no new jobs since 2027-01-06"):
            await limit_cost(config, files, the_day)
        assert await limit_cost(ignoring_dates(config), files, the_day)
        assert proxy.count("POST", "/files") == 0

        # A job that exists is finished, whatever the day.
        uploaded = await upload_file(files.run, files.train, config.provider)
        await create_job(files.run, uploaded, None, config.training, config.provider)
        assert await limit_cost(config, files, the_day)


@pytest.mark.parametrize("answer", ["not a date", None, 404, 500])
async def test_a_provider_that_names_no_day_refuses_nothing(
    training_server: str, source: str, answer: str | int | None
) -> None:
    with faulty_proxy(training_server) as proxy:
        if isinstance(answer, int):
            proxy.faults = [Fault("GET", "/models/baseline-text", times=1000, status=answer)]
        else:
            proxy.name_shutdown_date("baseline-text", answer)
        config = configuration(source, proxy.base_url)
        assert (await limit_cost(config, await write(config), date(2100, 1, 1))).dates is None


async def test_openais_days_hold_at_openai_alone(source: str) -> None:
    last_day = date(2027, 1, 5)
    openai = configuration(source, "https://api.openai.com/v1", model="gpt-4.1-mini")
    azure = configuration(source, "https://name.openai.azure.com/openai/v1", model="gpt-4.1-mini")
    files = await write(openai)
    # Neither is asked: there is no key.
    ends = [(await limit_cost(config, files, last_day)).dates for config in (openai, azure)]
    assert [dates and dates.new_jobs_end for dates in ends] == [date(2027, 1, 6), None]
    assert [dates and dates.fine_tuned_shutdown for dates in ends] == [date(2027, 1, 14), date(2027, 10, 14)]
    assert (await limit_cost(azure, files, date(2027, 1, 6))).dates == ends[1]


async def test_ignored_dates_make_no_other_run(source: str) -> None:
    config = configuration(source)
    assert (await load_data(config)).run.key == (await load_data(ignoring_dates(config))).run.key
