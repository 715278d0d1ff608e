"""What Prefect tells of a run without anybody opening its log."""

import html
import json
import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from faulty_proxy import faulty_proxy
from retrain_runs import artifacts, configuration, events, flow_runs_on, log_of, write_tickets
from waiting import wait_for_async

from flows.retrain import retrain
from retune.data.cost.model_dates import utc_today
from retune.errors import ModelEndedError, OverBudgetError, RunStoppedError, SourceError
from tasks.runtime import flow_run as flow_run_facts

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    # The stem is the data's label, by which the tests find their runs.
    return write_tickets(tmp_path / f"{tmp_path.name}.csv")


async def test_a_run_says_what_it_is_and_what_became_of_it(
    training_server: str, tickets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETUNE_TIMEZONE", "Asia/Tokyo")
    manifest = await retrain(configuration(training_server, tickets))
    (run,) = await flow_runs_on(tickets)
    label = tickets.stem
    assert re.fullmatch(rf"baseline-text on {label}, \d{{4}}-\d\d-\d\d \d\d:\d\d", run.name)
    assert run.expected_start_time
    assert run.name.endswith(f"{(run.expected_start_time.hour + 9) % 24:02}:{run.expected_start_time.minute:02}")
    assert {"model:baseline-text", f"data:{label}"} <= set(run.tags)
    assert run.labels["retune.job_id"] == manifest.job.id
    assert run.labels["retune.run_key"] == manifest.run_key
    assert run.labels["retune.base_url"] == training_server
    # A limit that doesn't exist is nothing to warn of.
    assert "retune-baseline-text" not in await log_of(run)

    (created,) = await wait_for_async(lambda: events("retune.job.created", manifest.job.id), "the job's creation")
    assert (created["model"], created["run_key"]) == ("baseline-text", manifest.run_key)
    (succeeded,) = await wait_for_async(lambda: events("retune.job.succeeded", manifest.job.id), "the job's end")
    assert succeeded["fine_tuned_model"] == manifest.fine_tuned_model
    assert succeeded["trained_tokens"] == manifest.job.trained_tokens
    (told,) = await wait_for_async(lambda: events("retune.run.succeeded", str(run.id)), "the run's end")
    assert manifest.evaluation
    assert told["exact_match"] == manifest.evaluation.fine_tuned.exact_match
    assert str(run.id) in told["flow_run_url"]
    assert told["title"]
    assert manifest.fine_tuned_model in told["message"]


@pytest.mark.slow
async def test_job_creation_emits_one_event(training_server: str, tickets: Path) -> None:
    config = configuration(training_server, tickets)
    first = await retrain(config)
    again = await retrain(config)
    first.directory.joinpath(".told_events").unlink()
    forgetful = await retrain(config)
    assert first.job.id == again.job.id == forgetful.job.id
    runs = await flow_runs_on(tickets)
    assert len(runs) == 3
    for run, end in zip(runs, ("succeeded", "unchanged", "unchanged"), strict=True):
        # What was emitted before this has been stored before it.
        await wait_for_async(partial(events, f"retune.run.{end}", str(run.id)), "each run's end")
    for name in ("retune.job.created", "retune.job.succeeded"):
        assert len(await events(name, first.job.id)) == 1


async def test_test_examples_are_a_table_and_the_report_is_a_link(
    training_server: str, tickets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETUNE_REPORTS_URL", "https://desk.example.com/runs/")
    manifest = await retrain(configuration(training_server, tickets, training={"suffix": "story"}))
    found = await artifacts("retrain-story", "examples-story", "report-story")
    rows: list[dict[str, Any]] = json.loads(str(found["examples-story"].data))
    assert manifest.evaluation
    assert len(rows) == manifest.evaluation.fine_tuned.n
    assert list(rows[0]) == ["right?", "expected", "fine-tuned", "base", "prompt"]
    right = sum(row["right?"] in {"both", "fine-tuned only"} for row in rows)
    assert right / len(rows) == pytest.approx(manifest.evaluation.fine_tuned.exact_match)
    url = f"https://desk.example.com/runs/{manifest.directory.name}/report.html"
    assert url in str(found["report-story"].data)
    summary = str(found["retrain-story"].data)
    assert f"]({url})" in summary
    assert f"]({training_server}/fine_tuning/jobs/{manifest.job.id})" in summary
    assert f"{training_server}/models/" in summary


async def test_without_an_address_the_report_is_a_path(training_server: str, tickets: Path) -> None:
    manifest = await retrain(configuration(training_server, tickets, training={"suffix": "pathless"}))
    found = await artifacts("retrain-pathless", "report-pathless")
    assert set(found) == {"retrain-pathless"}
    assert f"- Report: {manifest.report}" in html.unescape(str(found["retrain-pathless"].data))


async def test_failed_run_emits_an_event_of_one_line(training_server: str, tickets: Path) -> None:
    config = configuration(training_server, tickets)
    config = config.model_copy(update={"data": config.data.model_copy(update={"user_column": "nobody\nhas"})})
    with pytest.raises(SourceError):
        await retrain(config)
    (run,) = await flow_runs_on(tickets)
    (told,) = await wait_for_async(lambda: events("retune.run.failed", str(run.id)), "the failure")
    assert "has no column" in told["error"]
    assert "\n" not in told["error"]
    assert (told["model"], told["data"]) == ("baseline-text", tickets.stem)


async def test_run_over_budget_emits_its_own_event(training_server: str, tickets: Path) -> None:
    with faulty_proxy(training_server) as proxy:
        config = configuration(proxy.base_url, tickets, training={"model": "unpriced", "max_cost_usd": 5})
        with pytest.raises(OverBudgetError):
            await retrain(config)
    (run,) = await flow_runs_on(tickets)
    (told,) = await wait_for_async(lambda: events("retune.run.over-budget", str(run.id)), "the refusal")
    assert "$5.00" in told["error"]
    assert await events("retune.run.failed", str(run.id)) == []


@pytest.mark.slow
async def test_a_base_that_ends_soon_is_warned_of_each_time(training_server: str, tickets: Path) -> None:
    day = (utc_today() + timedelta(days=30)).isoformat()
    with faulty_proxy(training_server) as proxy:
        proxy.name_shutdown_date("baseline-text", day)
        config = configuration(proxy.base_url, tickets, training={"suffix": "ending"})
        manifest = await retrain(config)
        await retrain(config)
    runs = await flow_runs_on(tickets)
    assert len(runs) == 2
    for run in runs:
        (told,) = await wait_for_async(partial(events, "retune.run.ends-soon", str(run.id)), "the warning")
        assert told["days_left"] in {29, 30}
        assert f"no new jobs from {day}".lower() in told["message"].lower()
        assert "training.model (--model) to baseline-text" in told["message"]
        assert str(run.id) in told["flow_run_url"]
        assert f"No new jobs from {day}" in await log_of(run)
    assert manifest.job.new_jobs_end is not None
    assert manifest.job.new_jobs_end.isoformat() == day
    assert f"New jobs end</dt><dd>{day}" in re.sub(r"\s*\n\s*", "", manifest.report.read_text(encoding="utf-8"))
    assert f"New jobs end | {day}" in str((await artifacts("retrain-ending"))["retrain-ending"].data)


async def test_a_run_on_a_base_that_has_ended_fails_and_says_where_to_go(training_server: str, tickets: Path) -> None:
    with faulty_proxy(training_server) as proxy:
        proxy.name_shutdown_date("baseline-text", "2026-10-23")
        with pytest.raises(ModelEndedError):
            await retrain(configuration(proxy.base_url, tickets))
        assert proxy.count("POST", "/files") == 0
    (run,) = await flow_runs_on(tickets)
    (told,) = await wait_for_async(lambda: events("retune.run.failed", str(run.id)), "the refusal")
    assert "no new jobs since 2026-10-23" in told["error"]
    assert "training.ignore_dates: true" in told["advice"]
    assert await events("retune.run.ends-soon", str(run.id)) == []


async def test_a_run_that_is_started_over_and_over_ends(
    training_server: str, tickets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_run_facts, "MOST_STARTS", 0)
    with faulty_proxy(training_server) as proxy:
        with pytest.raises(RunStoppedError, match="started 1 times"):
            await retrain(configuration(proxy.base_url, tickets))
        assert proxy.requests == []


async def test_a_run_that_nobody_could_resume_does_not_wait_for_approval(training_server: str, tickets: Path) -> None:
    with faulty_proxy(training_server) as proxy:
        config = configuration(proxy.base_url, tickets, training={"model": "unpriced", "approve_above_usd": 5})
        with pytest.raises(OverBudgetError, match="Only a run of a deployment can wait"):
            await retrain(config)
        assert proxy.count("POST", "/files") == 0
