"""The deployed system on real parts, as a person has it: what is due runs, what changed is trained on, what is
cancelled ends, and what crashed goes on.

Everything is started once, and a later test builds on what an earlier one left.
"""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import postgresql
import pytest
from deployed_system import DeployedSystem, config_of, deployed_system, write_data
from key_receivers import key_receiver
from prefect_pages import PrefectPages, browser_path, prefect_pages
from waiting import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(postgresql.missing() is not None, reason=str(postgresql.missing())),
    pytest.mark.skipif(browser_path() is None, reason="no Chromium on this machine"),
]

# Looked up here: every test starts without the variables of the person who runs it.
_SCREENSHOTS = Path(os.environ.get("RETUNE_TEST_SCREENSHOTS", Path(__file__).parent / ".screenshots"))
_DEPLOYMENTS = {
    *("retrain/nightly", "retrain/on-new-data", "retrain/manual"),
    *("watch-data/every-10-minutes", "overview/hourly", "reconcile/every-5-minutes", "cancel-job/reaper"),
}
# Trains for minutes, so that there is time to end it.
_LONG = {"hyperparameters": {"n_epochs": 50, "batch_size": 16}}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedSystem]:
    with deployed_system(tmp_path_factory.mktemp("system")) as running:
        yield running


@pytest.fixture
def pages(system: DeployedSystem) -> Iterator[PrefectPages]:
    with prefect_pages(system.prefect, _SCREENSHOTS) as opened:
        yield opened


def test_deployments_are_registered_with_their_schedules(system: DeployedSystem) -> None:
    flows = {flow["id"]: flow["name"] for flow in system.prefect.find("flows")}
    found = {f"{flows[one['flow_id']]}/{one['name']}": one for one in system.prefect.find("deployments")}

    assert set(found) == _DEPLOYMENTS
    assert {one["work_pool_name"] for one in found.values()} == {"retune"}
    assert [one["schedule"]["cron"] for one in found["retrain/nightly"]["schedules"]] == ["0 3 * * *"]
    limits = system.prefect.find("v2/concurrency_limits")
    assert {one["name"]: one["limit"] for one in limits}["retune-baseline-text"] == 1


def test_scheduled_run_starts_when_it_is_due(system: DeployedSystem) -> None:
    address = f"/deployments/{system.prefect.deployment('retrain/nightly')['id']}/schedules"
    due = datetime.now(UTC) + timedelta(seconds=6)
    schedule = {"interval": timedelta(days=1).total_seconds(), "anchor_date": due.isoformat()}
    system.prefect.request("POST", address, [{"schedule": schedule, "active": True}])

    runs = wait_for(lambda: system.prefect.runs_of("retrain/nightly"), "a run that was due")
    run = system.prefect.wait_for_state(runs[0]["id"], "Completed")

    assert run["auto_scheduled"]
    assert abs(datetime.fromisoformat(run["expected_start_time"]) - due) < timedelta(seconds=1)
    assert run["name"].startswith("baseline-text on tickets")
    assert [job.status for job in system.jobs_of(run["id"])] == ["succeeded"]


def test_new_data_starts_a_training_and_unchanged_data_nothing(system: DeployedSystem) -> None:
    write_data(system.data, 80)
    announcement = announced(system, watch(system))
    assert announcement
    assert announcement["n_examples"] == 80

    [started] = wait_for(lambda: system.prefect.runs_of("retrain/on-new-data"), "a run on the new data")
    run = system.prefect.wait_for_state(started["id"], "Completed")
    [job] = system.jobs_of(run["id"])
    jobs = system.jobs()

    assert run["parameters"]["config"]["data"]["source"] == str(system.data)
    assert n_examples(system, job.training_file) > 60
    assert announced(system, watch(system)) is None
    assert [one["id"] for one in system.prefect.runs_of("retrain/on-new-data")] == [run["id"]]
    assert system.jobs() == jobs


def test_an_event_chooses_no_address(system: DeployedSystem) -> None:
    """Whoever can send events can start a training, but can't have keys or data sent anywhere."""
    known = {run["id"] for run in system.prefect.runs_of("retrain/on-new-data")}
    with key_receiver() as other:
        config = {**config_of(system.data), "provider": {"base_url": other.base_url}, "attempt": "event"}
        resource = {"prefect.resource.id": "retune.data.forged"}
        event = {"event": "retune.data.changed", "resource": resource, "payload": {"config": config}}
        moment = {"id": str(uuid4()), "occurred": datetime.now(UTC).isoformat()}
        system.prefect.request("POST", "/events", [{**event, **moment}])

        def started() -> list[dict[str, Any]]:
            return [run for run in system.prefect.runs_of("retrain/on-new-data") if run["id"] not in known]

        [run] = wait_for(started, "the run that the event starts")
        ended = system.prefect.wait_for_state(run["id"], "Failed")
    assert f"Runs here may use the provider at {system.training.base_url}" in ended["state"]["message"]
    assert other.requests == []


@pytest.fixture(scope="module")
def run_from_the_form(system: DeployedSystem) -> str:
    """Id of a run that a person started with changed parameters."""
    with prefect_pages(system.prefect, _SCREENSHOTS) as opened:
        opened.fill_run_form("retrain/manual", {"N Epochs (Optional)": 3})
        return opened.submit_run_form()


def test_a_run_started_from_the_form(system: DeployedSystem, run_from_the_form: str) -> None:
    run = system.prefect.wait_for_state(run_from_the_form, "Completed")
    [job] = system.jobs_of(run["id"])

    assert run["parameters"]["config"]["training"]["hyperparameters"]["n_epochs"] == 3
    assert job.hyperparameters.n_epochs == 3
    assert job.status == "succeeded"


def test_prefect_shows_the_artifacts_of_a_run(
    system: DeployedSystem, run_from_the_form: str, pages: PrefectPages
) -> None:
    system.prefect.wait_for_state(run_from_the_form, "Completed")
    of_run = {"flow_run_id": {"any_": [run_from_the_form]}, "type": {"any_": ["markdown"]}}
    found = system.prefect.find("artifacts", artifacts=of_run)
    [summary] = [one for one in found if one["key"].startswith("retrain-")]

    pages.open_run(run_from_the_form, tab="Artifacts")
    pages.page.locator("main").get_by_text(summary["key"]).first.wait_for()
    pages.keep("run")
    pages.open_artifact(summary["id"])
    pages.keep("artifact", is_whole=True)
    pages.open_runs()
    pages.page.get_by_text(system.prefect.run(run_from_the_form)["name"]).first.wait_for()
    pages.keep("runs")


@pytest.fixture
def dear_run(system: DeployedSystem, tmp_path: Path) -> str:
    """Id of a run that waits for somebody's approval."""
    # The stem is the data's label, which tells the runs apart.
    data = write_data(tmp_path / f"{tmp_path.name}.csv", 60)
    # Of another server's models nobody knows what training them costs.
    config = config_of(data, model="gpt-4.1-nano-2025-04-14", suffix=tmp_path.name, approve_above_usd=5)
    run_id = system.prefect.start_run("retrain/manual", {"config": config})
    system.prefect.wait_for_state(run_id, "Suspended")
    assert system.jobs_of(run_id) == []
    return run_id


def test_expensive_run_continues_after_approval(system: DeployedSystem, pages: PrefectPages, dear_run: str) -> None:
    wait_for(lambda: not system.process_of(dear_run), "the end of the run's process")
    asked = wait_for(lambda: system.prefect.events("retune.run.approval-needed"), "the question")
    assert "What the training will cost can't be said" in asked[0]["payload"]["message"]

    pages.resume_run(dear_run, "within the month's budget")

    system.prefect.wait_for_state(dear_run, "Completed")
    assert [job.status for job in system.jobs_of(dear_run)] == ["succeeded"]
    said = system.prefect.find("logs", logs={"flow_run_id": {"any_": [dear_run]}}, sort="TIMESTAMP_ASC")
    assert "Approved: within the month's budget" in [line["message"] for line in said]


def test_cancelling_declines(system: DeployedSystem, pages: PrefectPages, dear_run: str) -> None:
    pages.cancel_run(dear_run)

    assert system.prefect.wait_for_state(dear_run, "Cancelled")
    assert system.jobs_of(dear_run) == []


def test_cancelling_a_run_cancels_its_job(system: DeployedSystem, pages: PrefectPages, tmp_path: Path) -> None:
    run_id = start_long_run(system, tmp_path)
    job = system.wait_for_training(run_id)

    pages.cancel_run(run_id)

    assert system.prefect.wait_for_state(run_id, "Cancelled")
    wait_for(lambda: system.client.fine_tuning.jobs.retrieve(job.id).status == "cancelled", "the job's end")
    wait_for(lambda: not system.process_of(run_id), "the end of the run's process")


def test_killed_run_resumes_with_its_job(system: DeployedSystem, tmp_path: Path) -> None:
    data = write_data(tmp_path / "killed.csv", 100)
    config = config_of(data, hyperparameters={"n_epochs": 20, "batch_size": 1})
    run_id = system.prefect.start_run("retrain/manual", {"config": config})
    job = system.wait_for_training(run_id)

    for pid in system.process_of(run_id):
        os.kill(pid, signal.SIGKILL)
    system.prefect.wait_for_state(run_id, "Crashed")
    run = system.prefect.wait_for_state(run_id, "Completed")

    assert run["run_count"] == 2
    assert [(one.id, one.status) for one in system.jobs_of(run_id)] == [(job.id, "succeeded")]


def test_the_key_is_found_nowhere(system: DeployedSystem) -> None:
    kinds = ("flow_runs", "artifacts", "logs", "deployments", "block_documents", "automations")
    said = [str(system.prefect.find(kind)) for kind in kinds]

    assert system.api_key not in "".join([*said, str(system.prefect.events("")), system.processes.logs()])


def start_long_run(system: DeployedSystem, directory: Path) -> str:
    data = write_data(directory / "long.csv", 4000)
    return system.prefect.start_run("retrain/manual", {"config": config_of(data, **_LONG)})


def watch(system: DeployedSystem) -> str:
    """Look at the data once, as the watch does every ten minutes; the run's id."""
    run_id = system.prefect.start_run("watch-data/every-10-minutes", {"watch": {"quiet_seconds": 0}})
    system.prefect.wait_for_state(run_id, "Completed")
    return run_id


def announced(system: DeployedSystem, run_id: str) -> dict[str, Any] | None:
    """What a look has announced."""
    for event in system.prefect.events("retune.data.changed"):
        if f"prefect.flow-run.{run_id}" in {one["prefect.resource.id"] for one in event["related"]}:
            return dict(event["payload"])
    return None


def n_examples(system: DeployedSystem, file_id: str) -> int:
    return len(system.client.files.content(file_id).content.splitlines())
