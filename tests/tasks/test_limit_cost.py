"""What ends a run before an upload: its cost, and a base model that its provider ends."""

from datetime import date
from pathlib import Path

import pytest
from faulty_proxy import Fault, faulty_proxy
from step_runs import Rows, configuration, prepare, with_training, write, write_csv

from retune.config import RetrainConfig
from retune.data.cost.estimate import format_usd
from retune.errors import ConfigError, ModelEndedError
from tasks.create_job import create_job
from tasks.limit_cost import limit_cost
from tasks.load_data import load_data
from tasks.upload_file import upload_file

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


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


@pytest.fixture
def source(tmp_path: Path, rows: Rows) -> str:
    return write_csv(tmp_path / "data.csv", rows)


def ignoring_dates(config: RetrainConfig) -> RetrainConfig:
    return with_training(config, ignore_dates=True)


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
    openai = configuration(source, "https://api.openai.com/v1", training={"model": "gpt-4.1-mini"})
    azure = configuration(source, "https://name.openai.azure.com/openai/v1", training={"model": "gpt-4.1-mini"})
    files = await write(openai)
    # Neither is asked: there is no key.
    ends = [(await limit_cost(config, files, last_day)).dates for config in (openai, azure)]
    assert [dates and dates.new_jobs_end for dates in ends] == [date(2027, 1, 6), None]
    assert [dates and dates.fine_tuned_shutdown for dates in ends] == [date(2027, 1, 14), date(2027, 10, 14)]
    assert (await limit_cost(azure, files, date(2027, 1, 6))).dates == ends[1]


async def test_ignored_dates_make_no_other_run(source: str) -> None:
    config = configuration(source)
    assert (await load_data(config)).run.key == (await load_data(ignoring_dates(config))).run.key
