"""The worker runs Retune's own flows, and what somebody else writes into Prefect's API makes it run nothing else.

Everything is started at once and looked at afterwards, since each process takes seconds.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from key_receivers import KeyReceiver, key_receiver
from prefect_process import PrefectServer
from waiting import wait_for

from deployments.definitions import job_template

pytestmark = pytest.mark.slow

KEY, BLOCK_KEY = "sk-of-the-worker-0123", "sk-of-a-block-4567"
POOL = "guarded"
_OVERVIEW, _RETRAIN, _CANCEL_JOB = "flows.overview.overview", "flows.retrain.retrain", "flows.cancel_job.cancel_job"


@dataclass
class Guarded:
    """A worker, and what somebody made in its Prefect server.

    Attributes:
        mine: The provider that the worker's environment names.
        other: An address that nobody gave a key for.
        marks: What ran that should not have leaves a file here.
    """

    server: PrefectServer
    mine: KeyReceiver
    other: KeyReceiver
    marks: Path
    runs: dict[str, str] = field(default_factory=dict)

    def deploy(self, name: str, entrypoint: str, **more: Any) -> str:
        """Make a deployment as any client can; its id."""
        flow = self.server.request("POST", "/flows/", {"name": entrypoint.rpartition(".")[2].replace("_", "-")})
        body = {"name": f"guarded {name}", "flow_id": flow["id"], "entrypoint": entrypoint, "work_pool_name": POOL}
        return str(self.server.request("POST", "/deployments/", {**body, **more})["id"])

    def start(self, name: str, deployment: str, **more: Any) -> None:
        """Start a run of it."""
        body = {"state": {"type": "SCHEDULED", "name": "Scheduled"}, **more}
        self.runs[name] = str(self.server.request("POST", f"/deployments/{deployment}/create_flow_run", body)["id"])

    def ended(self, name: str, *states: str) -> str:
        """Wait for a run's end; all that was said about it."""
        run = self.server.wait_for_state(self.runs[name], *states)
        return f"{run['state']['message']}\n{self.server.log_of(self.runs[name])}"


@pytest.fixture(scope="module")
def guarded(prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    pool = {"name": POOL, "type": "process", "base_job_template": job_template()}
    prefect_server.request("POST", "/work_pools/", pool)
    with ExitStack() as stack:
        mine, other = (stack.enter_context(key_receiver()) for _ in range(2))
        there = Guarded(prefect_server, mine, other, directory / "marks")
        there.marks.mkdir()
        _start_foreign_runs(there, directory)
        _start_runs_with_keys(there, directory)
        worker = prefect_server.processes.start(
            "guarded-worker",
            *(sys.executable, "-P", "-m", "deployments.worker", "--pool", POOL, "--name", POOL),
            OPENAI_API_KEY=KEY,
            OPENAI_BASE_URL=mine.base_url,
            RETUNE_WORKING_DIR=str(directory),
            RETUNE_HOME=str(directory / "home"),
            PREFECT_WORKER_QUERY_SECONDS="1",
            PREFECT_WORKER_HEARTBEAT_SECONDS="1",
        )
        yield there
        worker.terminate()
        worker.wait(60)
        for deployment in prefect_server.find("deployments", deployments={"name": {"like_": "guarded"}}):
            prefect_server.request("DELETE", f"/deployments/{deployment['id']}")
        prefect_server.request("DELETE", f"/work_pools/{POOL}")


def _start_foreign_runs(there: Guarded, directory: Path) -> None:
    mark = f"touch {there.marks}/ran"
    (directory / "evil.py").write_text(
        f"import os\nfrom prefect import flow\nos.system({mark!r})\n@flow\ndef evil(): pass\n"
    )
    step = {"prefect.deployments.steps.run_shell_script": {"script": mark}}
    for name, entrypoint, more in (
        ("code of its own", f"{directory}/evil.py:evil", {}),
        ("a module of its own", "evil.evil", {}),
        ("a function of Python's", "os.system", {}),
        ("pull steps", _OVERVIEW, {"pull_steps": [step]}),
        ("a command", _OVERVIEW, {"job_variables": {"command": mark}}),
        ("an environment", _OVERVIEW, {"job_variables": {"env": {"PYTHONPATH": str(directory)}}}),
        ("a directory", _OVERVIEW, {"job_variables": {"working_dir": "/"}}),
    ):
        there.start(name, there.deploy(name, entrypoint, **more))
    own = there.deploy("own", _OVERVIEW, job_variables={"working_dir": str(directory)})
    there.start("a command for one run", own, job_variables={"command": mark})
    there.start("own", own)


def _start_runs_with_keys(there: Guarded, directory: Path) -> None:
    rows = "".join(f"message {number},answer {number % 3}\n" for number in range(40))
    (directory / "tickets.csv").write_text(f"message,answer\n{rows}")
    retrain = there.deploy("retrain", _RETRAIN)
    for name, base_url in (("the address of the key", None), ("another address", there.other.base_url)):
        data = {"source": "tickets.csv", "user_column": "message", "assistant_column": "answer"}
        config = {"data": data, "provider": {"base_url": base_url}, "attempt": name}
        there.start(name, retrain, parameters={"config": config})
    cancelled = {"type": "CANCELLED", "name": "Cancelled"}
    labels = {"retune.base_url": there.other.base_url, "retune.run_key": "k", "retune.job_id": "ftjob-1"}
    flow = there.server.request("POST", "/flows/", {"name": "retrain"})
    forged = there.server.request("POST", "/flow_runs/", {"flow_id": flow["id"], "state": cancelled, "labels": labels})
    there.runs["forged"] = forged["id"]
    there.start("labels", there.deploy("reaper", _CANCEL_JOB), parameters={"flow_run_id": forged["id"]})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("code of its own", "the deployment's entry point is"),
        ("a module of its own", "the deployment's entry point is 'evil.evil'"),
        ("a function of Python's", "the deployment's entry point is 'os.system'"),
        ("pull steps", "the deployment has pull steps"),
        ("a command", "the deployment's job variables set command"),
        ("an environment", "the deployment's job variables set env"),
        ("a directory", "the deployment's job variables set the working directory /"),
        ("a command for one run", "the run's job variables set command"),
    ],
)
def test_what_is_not_retune_s_own_is_refused(guarded: Guarded, name: str, reason: str) -> None:
    assert f"Refused: {reason}" in guarded.ended(name, "Failed")
    wait_for(lambda: f"Refused: {reason}" in guarded.server.log_of(guarded.runs[name]), "the line in the log")


def test_worker_runs_retunes_own_flow(guarded: Guarded) -> None:
    guarded.ended("own", "Completed")
    assert list(guarded.marks.iterdir()) == []


def test_a_key_goes_to_its_own_address_whatever_the_parameters_say(guarded: Guarded) -> None:
    assert "not here" in guarded.ended("the address of the key", "Failed")
    assert guarded.mine.keys == {f"Bearer {KEY}"}
    said = guarded.ended("another address", "Failed")
    assert f"Runs here may use the provider at {guarded.mine.base_url} (OPENAI_BASE_URL names it) only" in said
    assert f"the provider of this run is {guarded.other.base_url}" in said


def test_labels_of_a_cancelled_run_choose_no_address(guarded: Guarded) -> None:
    assert f"the provider of this run is {guarded.other.base_url}" in guarded.ended("labels", "AwaitingRetry", "Failed")
    assert guarded.other.requests == []


def test_a_changed_template_is_refused_and_runs_nothing(guarded: Guarded) -> None:
    template = job_template()
    template["job_configuration"]["command"] = f"touch {guarded.marks}/ran"
    guarded.server.request("PATCH", f"/work_pools/{POOL}", {"base_job_template": template})
    before = _heartbeats(guarded)
    # Two later ones: whatever the worker knew of the pool is of after the change.
    wait_for(lambda: _heartbeats(guarded) > before, "a heartbeat")
    between = _heartbeats(guarded)
    wait_for(lambda: _heartbeats(guarded) > between, "another heartbeat")
    [own] = guarded.server.find("deployments", deployments={"name": {"any_": ["guarded own"]}})
    guarded.start("template", own["id"])
    assert "is not the one that `retune deploy` and `retune up` make" in guarded.ended("template", "Failed")
    assert list(guarded.marks.iterdir()) == []


def _heartbeats(guarded: Guarded) -> str:
    [worker] = guarded.server.request("POST", f"/work_pools/{POOL}/workers/filter", {})
    return str(worker["last_heartbeat_time"])


def test_the_run_s_process_asks_nobody_what_code_to_run(guarded: Guarded, tmp_path: Path) -> None:
    """As if somebody had changed the deployment after the worker looked at it."""
    deployment = guarded.deploy("changed", "evil.evil", path=str(tmp_path))
    guarded.server.request("PATCH", f"/deployments/{deployment}", {"paused": True})
    guarded.start("changed", deployment, state={"type": "PENDING", "name": "Pending"})
    command = (sys.executable, "-P", "-m", "deployments.flow_run_process")
    variables = {"PREFECT__FLOW_RUN_ID": guarded.runs["changed"], "RETUNE_HOME": str(tmp_path)}
    guarded.server.processes.run(*command, _OVERVIEW, **variables)
    run = guarded.server.run(guarded.runs["changed"])
    assert run["state_name"] == "Completed", json.dumps(run["state"])
    with pytest.raises(AssertionError, match=r"evil\.evil is not a flow of Retune's deployments"):
        guarded.server.processes.run(*command, "evil.evil", **variables)
    assert list(guarded.marks.iterdir()) == []
