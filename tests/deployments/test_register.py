"""What Prefect knows after the registration, and that it works there."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.automations import AutomationCore, EventTrigger
from prefect.client.orchestration import get_client
from prefect_process import PrefectServer
from preloaded import run_preloaded
from waiting import wait_for

from deployments.automations import automations, register_automations
from deployments.register import Registration
from retune.config import RetrainConfig
from retune.config_file import load_config
from retune.data.cost.base_models import known_families, limit_name
from retune.errors import ConfigError

CHECKOUT = Path(__file__).parents[2]
LIMIT = limit_name("gpt-4.1-nano")
DEPLOYMENTS = {
    "nightly": "flows.retrain.retrain",
    "on-new-data": "flows.retrain.retrain",
    "manual": "flows.retrain.retrain",
    "every-10-minutes": "flows.watch_data.watch_data",
    "every-5-minutes": "flows.reconcile.reconcile",
    "hourly": "flows.overview.overview",
    "reaper": "flows.cancel_job.cancel_job",
}
CONFIG = {
    "data": {"source": "tickets.csv", "user_column": "message", "assistant_column": "answer"},
    "training": {"suffix": "from-a-file"},
}


def run_register(server: PrefectServer, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = server.processes.variables(**variables)
    return run_preloaded("deployments.register", env=environment, cwd=server.processes.directory, timeout=120)


TAKING_UP = {"retune - resume crashed runs", "retune - notice lost processes", "retune - start what got stuck"}


def everything(server: PrefectServer) -> dict[str, Any]:
    """Names and ids of all that a registration makes; triggers are made anew with their deployment."""
    automations = server.find("automations")
    return {
        "pools": [(pool["name"], pool["id"]) for pool in server.find("work_pools")],
        "deployments": sorted((item["name"], item["id"]) for item in server.find("deployments")),
        "schedules": sorted(
            (item["name"], len(item["schedules"])) for item in server.find("deployments") if item["schedules"]
        ),
        "automations": sorted(item["name"] for item in automations),
        # One that is changed forgets the runs that it waits for.
        "unchanged": sorted((item["name"], item["updated"]) for item in automations if item["name"] in TAKING_UP),
        "limits": sorted((item["name"], item["id"]) for item in server.find("v2/concurrency_limits")),
    }


@pytest.fixture(scope="module")
def registered(prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> PrefectServer:
    settings = tmp_path_factory.mktemp("settings") / "retrain.yaml"
    settings.write_text(yaml.safe_dump(CONFIG))
    variables = {
        "RETUNE_RETRAIN_CONFIG": str(settings),
        "RETUNE_SCHEDULE_CRON": "30 4 * * *",
        "RETUNE_TIMEZONE": "Europe/Berlin",
        "RETUNE_WORKING_DIR": "/srv/tickets",
    }
    first = run_register(prefect_server, **variables)
    assert first.returncode == 0, first.stderr
    before = everything(prefect_server)
    automations = {item["name"]: item for item in prefect_server.find("automations")}
    taken_up = automations["retune - resume crashed runs"]
    prefect_server.request("PATCH", f"/automations/{taken_up['id']}", {"enabled": False})
    prefect_server.request("PATCH", f"/v2/concurrency_limits/{LIMIT}", {"limit": 7})
    hourly = prefect_server.deployment("overview/hourly")
    address = f"/deployments/{hourly['id']}/schedules"
    prefect_server.request("PATCH", f"{address}/{hourly['schedules'][0]['id']}", {"active": False})
    reaper = prefect_server.deployment("cancel-job/reaper")
    prefect_server.request("PATCH", f"/deployments/{reaper['id']}", {"paused": True})
    quarterly = {"schedule": {"interval": 90 * 86_400.0, "anchor_date": "2026-01-01T00:00:00Z"}, "active": False}
    manual = prefect_server.deployment("retrain/manual")
    prefect_server.request("POST", f"/deployments/{manual['id']}/schedules", [quarterly])
    before = everything(prefect_server)
    theirs = {key: taken_up[key] for key in ("description", "trigger", "actions")}
    made = prefect_server.request("POST", "/automations/", {**theirs, "name": "of a person", "enabled": True})

    second = run_register(prefect_server, **variables)

    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout.replace("5 * * * * UTC", "5 * * * * UTC (paused)").replace(
        "retrain/manual, started by hand", "retrain/manual, every 90 days (paused)"
    )
    assert prefect_server.deployment("cancel-job/reaper")["paused"]
    prefect_server.request("PATCH", f"/deployments/{reaper['id']}", {"paused": False})
    assert prefect_server.request("GET", f"/automations/{made['id']}")["name"] == "of a person"
    prefect_server.request("DELETE", f"/automations/{made['id']}")
    assert everything(prefect_server) == before
    return prefect_server


@pytest.mark.slow
def test_registering_again_keeps_manual_changes(registered: PrefectServer) -> None:
    automations = {item["name"]: item for item in registered.find("automations")}
    assert automations["retune - resume crashed runs"]["enabled"] is False
    assert automations["retune - notice lost processes"]["enabled"] is True
    limits = {item["name"]: item["limit"] for item in registered.find("v2/concurrency_limits")}
    expected = {limit_name(family): 2 for family in known_families()}
    expected |= {limit_name("baseline-text"): 1, LIMIT: 7}
    assert expected.items() <= limits.items()
    [hourly] = registered.deployment("overview/hourly")["schedules"]
    assert not hourly["active"]
    [quarterly] = registered.deployment("retrain/manual")["schedules"]
    assert quarterly["schedule"]["interval"] == 90 * 86_400
    assert quarterly["schedule"]["anchor_date"].startswith("2026-01-01T00:00:00")
    assert not quarterly["active"]


@pytest.mark.slow
async def test_automation_with_a_former_name_is_renamed_and_stays_disabled(
    registered: PrefectServer, prefect_client_settings: None
) -> None:
    [now] = [item for item in registered.find("automations") if item["name"] == "retune - resume crashed runs"]
    before = {key: now[key] for key in ("description", "trigger", "actions", "enabled")}
    registered.request("PUT", f"/automations/{now['id']}", {**before, "name": "retune - take up crashed runs"})
    async with get_client() as client:
        await register_automations(client)
    renamed = [item for item in registered.find("automations") if item["id"] == now["id"]]
    assert [(item["name"], item["enabled"]) for item in renamed] == [("retune - resume crashed runs", False)]
    assert "retune - take up crashed runs" not in {item["name"] for item in registered.find("automations")}


@pytest.mark.slow
def test_every_deployment_says_what_it_is_for_and_what_it_does(registered: PrefectServer) -> None:
    deployments = {item["name"]: item for item in registered.find("deployments")}
    assert {name: item["entrypoint"] for name, item in deployments.items()} == DEPLOYMENTS
    for item in deployments.values():
        assert item["description"]
        assert "retune" in item["tags"]
        assert item["work_pool_name"] == "retune"
        assert item["job_variables"] == {"working_dir": "/srv/tickets"}
    for name in ("nightly", "on-new-data", "manual", "every-10-minutes"):
        assert deployments[name]["parameters"] == {"config": CONFIG}
    for name in ("nightly", "on-new-data"):
        assert deployments[name]["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    [schedule] = deployments["nightly"]["schedules"]
    assert schedule["schedule"]["cron"] == "30 4 * * *"
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"


@pytest.mark.slow
def test_cron_deployments_get_scheduled_runs(registered: PrefectServer) -> None:
    nightly = {"deployments": {"id": {"any_": [registered.deployment("retrain/nightly")["id"]]}}}
    runs = wait_for(lambda: registered.find("flow_runs", **nightly), "runs of the schedule")
    assert all(run["auto_scheduled"] for run in runs)
    assert {run["state"]["type"] for run in runs} == {"SCHEDULED"}
    assert {run["parameters"]["config"]["training"]["suffix"] for run in runs} == {"from-a-file"}


@pytest.mark.slow
def test_new_data_starts_a_run_with_the_settings_of_the_event(registered: PrefectServer) -> None:
    config = RetrainConfig.model_validate(
        {
            # Nothing in a name or an instruction is to be taken for a template or for the end of a string.
            "data": {
                "source": "tickets.csv",
                "user_column": "a \"quoted\" 'name'",
                "assistant_column": "{{ 7 * 6 }} ü <b>",
                "system": "two\nlines \\ of text",
            },
            "training": {"suffix": "from-the-event"},
        }
    ).model_dump(mode="json")
    event = {
        "id": str(uuid4()),
        "occurred": "2030-01-01T00:00:00Z",
        "event": "retune.data.changed",
        "resource": {"prefect.resource.id": "retune.data.0123456789abcdef", "prefect.resource.name": "tickets"},
        "payload": {"source": "tickets.csv", "n_new": 3, "config": config},
    }
    registered.request("POST", "/events", [event])
    [run] = wait_for(lambda: registered.runs_of("retrain/on-new-data"), "the run that the event starts")
    assert run["parameters"] == {"config": config}


@pytest.mark.slow
def test_cancelled_retrain_run_starts_the_reaper(registered: PrefectServer) -> None:
    manual = registered.deployment("retrain/manual")
    run = registered.request("POST", f"/deployments/{manual['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    registered.request(
        "POST",
        f"/flow_runs/{run['id']}/set_state",
        {"state": {"type": "CANCELLED", "name": "Cancelled"}, "force": True},
    )
    [reaper] = wait_for(lambda: registered.runs_of("cancel-job/reaper"), "the reaper")
    assert reaper["parameters"] == {"flow_run_id": run["id"]}


@pytest.mark.slow
def test_wrong_password_names_the_variable(registered: PrefectServer) -> None:
    done = run_register(registered, PREFECT_API_AUTH_STRING="admin:wrong")
    assert done.returncode == 1
    assert "PREFECT_API_AUTH_STRING" in done.stderr
    assert "Traceback" not in done.stderr


def test_prefect_yaml_alone_retrains_the_example() -> None:
    settings = yaml.safe_load((CHECKOUT / "deployments" / "prefect.yaml").read_text())
    assert {item["name"]: item["entrypoint"] for item in settings["deployments"]} == DEPLOYMENTS
    assert RetrainConfig.model_validate(settings["definitions"]["config"]) == load_config(
        CHECKOUT / "examples" / "support_tickets.yaml", {}
    )


@pytest.mark.parametrize(
    ("variable", "value"), [("RETUNE_SCHEDULE_CRON", "at night"), ("RETUNE_TIMEZONE", "Europe/Nowhere")]
)
def test_invalid_schedule_is_refused(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=value):
        Registration.from_environment()


def test_a_placeholder_in_the_settings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect would replace it, and the deployments would train something else than `retune run`."""
    settings = tmp_path / "retrain.yaml"
    settings.write_text(yaml.safe_dump({**CONFIG, "data": {**CONFIG["data"], "system": "You help {{ USER }}."}}))
    monkeypatch.setenv("RETUNE_RETRAIN_CONFIG", str(settings))
    with pytest.raises(ConfigError, match=r'retrain\.yaml has "\{\{" in a text'):
        Registration.from_environment()


def test_it_refuses_to_schedule_what_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "ended.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, "training": {"model": "gpt-4.1-nano"}}))
    variables = {
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "RETUNE_RETRAIN_CONFIG": str(path),
        "OPENAI_BASE_URL": "https://api.openai.com/v1",
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "deployments.register"],
        env={**os.environ, **variables, "PYTHONPATH": str(CHECKOUT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: OpenAI has ended gpt-4.1-nano-2025-04-14")
    assert "training.ignore_dates: true" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("automation", automations(), ids=lambda automation: automation.name)
def test_a_run_that_ended_unchanged_is_neither_lost_nor_stuck(automation: AutomationCore) -> None:
    """Prefect's events carry a state's name: Completed runs named "Unchanged" send no "Completed"."""
    assert isinstance(automation.trigger, EventTrigger)
    assert "prefect.flow-run.Unchanged" in automation.trigger.expect
