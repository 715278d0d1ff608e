"""`retune up` as a person runs it: the real command, in a directory of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect_template import copy_prefect_home, shared_directory
from waiting import wait_for

from retune.cli.up import _provider
from retune.local.prefect_access import as_basic, prefect_password

_DEADLINE_SECONDS = 240
_PAID_KEY = "sk-for-a-paid-provider"


@dataclass
class Up:
    directory: Path
    port: int
    server_port: int
    process: subprocess.Popen[bytes]

    @property
    def output(self) -> str:
        return (self.directory / "output").read_text()

    def ask(self, path: str, body: Any = None) -> Any:
        password = prefect_password(self.directory / "home" / "prefect")
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {as_basic(password)}"}
        if body is not None:
            token = self.ask("/csrf-token?client=test")["token"]
            headers |= {"Prefect-Csrf-Client": "test", "Prefect-Csrf-Token": token}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
        )

        def answered() -> list[Any]:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return [json.load(answer)]
            except urllib.error.HTTPError as error:
                # While its SQLite file is locked.
                if error.code != 503:
                    raise
                return []

        [said] = wait_for(answered, path)
        return said

    def processes(self) -> dict[int, str]:
        """All processes that belong to it, and their command lines."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"RETUNE_HOME={self.directory}/home".encode() in (path / "environ").read_bytes().split(b"\0"):
                    found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
        return found


def command(directory: Path, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
    variables = {
        **os.environ,
        "RETUNE_HOME": f"{directory}/home",
        "OPENAI_API_KEY": _PAID_KEY,
        "COLUMNS": "200",
        **variables,
    }
    with (directory / "output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "retune.cli.app", "up", *arguments],
            cwd=directory,
            env=variables,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=0o022,
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    directory = tmp_path_factory.mktemp("up")
    (directory / "tickets.csv").write_text("message,answer\n" + "".join(f"question {i},answer\n" for i in range(40)))
    copy_prefect_home(shared_directory(tmp_path_factory), directory / "home" / "prefect")
    up = Up(directory, free_port(), free_port(), None)  # type: ignore[arg-type]
    try:
        start(up)
        yield up
    finally:
        if up.process.poll() is None:
            up.process.kill()
            up.process.wait()
        for pid in up.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def start(up: Up) -> None:
    """Start it and wait until everything is there."""
    (up.directory / "output").unlink(missing_ok=True)
    up.process = command(up.directory, "--port", str(up.port), "--server-port", str(up.server_port))
    wait_for(lambda: "Ctrl-C" in up.output, "the whole system", process=up.process, log=up.directory / "output")


def state_of(up: Up, run_id: str) -> str:
    return str(up.ask(f"/flow_runs/{run_id}")["state"]["name"])


def jobs(up: Up) -> list[Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{up.server_port}/v1/fine_tuning/jobs", timeout=30) as answer:
        return list(json.load(answer)["data"])


def start_run(up: Up, n_epochs: int) -> str:
    [manual] = [one for one in up.ask("/deployments/filter", {}) if one["name"] == "manual"]
    config = {
        "data": {"source": "tickets.csv", "user_column": "message", "assistant_column": "answer"},
        "training": {"hyperparameters": {"n_epochs": n_epochs, "batch_size": 1}},
    }
    body = {"parameters": {"config": config}}
    return str(up.ask(f"/deployments/{manual['id']}/create_flow_run", body)["id"])


@pytest.mark.slow
def test_up_starts_prefect_deployments_and_server(running: Up) -> None:
    assert f"http://127.0.0.1:{running.port}" in running.output
    assert "retrain/nightly" in running.output
    names = {deployment["name"] for deployment in running.ask("/deployments/filter", {})}
    assert names == {"nightly", "on-new-data", "manual", "every-10-minutes", "hourly", "every-5-minutes", "reaper"}
    with urllib.request.urlopen(f"http://127.0.0.1:{running.server_port}/health", timeout=30) as answer:
        assert answer.status == 200


@pytest.mark.slow
def test_without_data_nothing_is_scheduled(running: Up) -> None:
    """There is no examples/support_tickets.yaml in this directory, and nobody named another file."""
    schedules = {
        one["name"]: [schedule["active"] for schedule in one["schedules"]]
        for one in running.ask("/deployments/filter", {})
    }
    assert schedules["nightly"] == schedules["every-10-minutes"] == [False]
    assert "RETUNE_RETRAIN_CONFIG" in running.output


@pytest.mark.slow
def test_a_run_trains_here_on_data_of_the_current_directory(running: Up) -> None:
    run = start_run(running, n_epochs=1)
    ended = {"Completed", "Failed", "Crashed", "Cancelled"}
    wait_for(lambda: state_of(running, run) in ended, "the run")
    assert state_of(running, run) == "Completed"
    assert list((running.directory / "home" / "runs").glob("*/manifest.json"))
    n_jobs = len(jobs(running))
    again = start_run(running, n_epochs=1)
    wait_for(lambda: state_of(running, again) in {*ended, "Unchanged"}, "the run")
    state = running.ask(f"/flow_runs/{again}")["state"]
    assert (state["type"], state["name"]) == ("COMPLETED", "Unchanged")
    assert run in state["message"]
    assert len(jobs(running)) == n_jobs


@pytest.mark.slow
def test_nothing_that_it_keeps_is_open_to_others(running: Up) -> None:
    home = running.directory / "home"
    assert [path for path in (home, *home.rglob("*")) if not path.is_symlink() and path.stat().st_mode & 0o077] == []


@pytest.mark.slow
def test_a_key_for_a_paid_provider_reaches_nothing(running: Up) -> None:
    for pid, name in running.processes().items():
        if "retune.cli.app" in name or "retune.processes" in name:
            continue
        with suppress(OSError):
            assert _PAID_KEY.encode() not in Path(f"/proc/{pid}/environ").read_bytes(), name


@pytest.mark.slow
def test_a_second_one_says_where_the_first_is(running: Up) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "retune.cli.app", "up", "--port", str(free_port()), "--server-port", str(free_port())],
        env={**os.environ, "RETUNE_HOME": f"{running.directory}/home"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert second.returncode == 1
    assert f"up already for {running.directory}/home: http://127.0.0.1:{running.port}" in second.stderr


def working_on(up: Up, run_id: str) -> list[int]:
    """Processes of a flow run."""
    ids = {f"PREFECT__FLOW_RUN_ID={name}".encode() for name in (run_id, run_id.replace("-", ""))}
    found = []
    for pid in up.processes():
        with suppress(OSError):
            if ids & set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
                found.append(pid)
    return found


@pytest.mark.slow
def test_a_run_outlives_its_worker_and_ctrl_c_and_pays_one_job(running: Up) -> None:
    before = {job["id"] for job in jobs(running)}
    run = start_run(running, n_epochs=30)
    wait_for(lambda: any(job["status"] == "running" for job in jobs(running)), "the training")
    orphans = working_on(running, run)
    assert orphans

    [worker] = [pid for pid, name in running.processes().items() if "deployments.worker" in name]
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: "worker has ended" in running.output, "the worker's end to be seen")
    wait_for(lambda: not set(orphans) & set(running.processes()), "the end of what the worker left")
    wait_for(lambda: working_on(running, run), "the run to be resumed")

    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(60) == 0, running.output
    wait_for(lambda: not running.processes(), "the end of all processes")
    assert "1 run interrupted: the next worker resumes it." in running.output
    assert "Everything is kept" in running.output

    start(running)
    wait_for(lambda: state_of(running, run) == "Completed", "the run")
    [job] = [job for job in jobs(running) if job["id"] not in before]
    assert job["status"] == "succeeded"


@pytest.mark.slow
def test_nothing_outlives_a_killed_one(tmp_path: Path) -> None:
    up = Up(tmp_path, free_port(), free_port(), None)  # type: ignore[arg-type]
    up.process = command(tmp_path, "--port", str(up.port), "--server-port", str(up.server_port))
    try:
        wait_for(lambda: len(up.processes()) >= 4, "its children")
        up.process.kill()
        up.process.wait()
        wait_for(lambda: not up.processes(), "the end of all processes")
    finally:
        for pid in up.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = command(tmp_path, "--port", str(port))
        assert process.wait(60) == 1
    assert f"port {port}: Address already in use" in (tmp_path / "output").read_text()
    assert "--port" in (tmp_path / "output").read_text()


def test_an_address_of_a_server_that_has_ended_is_named(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}/v1"
    process = command(tmp_path, "--port", str(free_port()), OPENAI_BASE_URL=address)
    assert process.wait(60) == 1
    assert f"Nothing answers at the provider's address {address}" in (tmp_path / "output").read_text()
    assert "Unset OPENAI_BASE_URL" in (tmp_path / "output").read_text()


@pytest.mark.parametrize("address", ["http://[", "ftp://x", "https://api.openai.com:99999/v1"])
def test_invalid_address_is_refused(tmp_path: Path, address: str) -> None:
    process = command(tmp_path, "--port", str(free_port()), "--base-url", address)
    assert process.wait(60) == 1
    said = (tmp_path / "output").read_text()
    assert "The provider's address must look like" in said
    assert "unexpected" not in said


def test_a_base_model_that_has_ended_is_named_before_anything_starts(tmp_path: Path) -> None:
    config = tmp_path / "ended.yaml"
    config.write_text("data: {source: tickets.csv}\ntraining: {model: gpt-4.1-nano}\n")
    ports = ("--port", str(free_port()), "--base-url", "https://api.openai.com/v1")
    process = command(tmp_path, *ports, RETUNE_RETRAIN_CONFIG=str(config))
    assert process.wait(60) == 1
    said = (tmp_path / "output").read_text()
    assert "OpenAI has ended gpt-4.1-nano-2025-04-14" in said
    assert "training.ignore_dates: true" in said
    assert "✓" not in said


def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    port = free_port()
    url = f"postgresql+asyncpg://retune:a-secret@127.0.0.1:{port}/prefect"
    ports = ("--port", str(free_port()), "--server-port", str(free_port()))
    process = command(tmp_path, *ports, PREFECT_SERVER_DATABASE_CONNECTION_URL=url)
    assert process.wait(60) == 1
    said = (tmp_path / "output").read_text()
    assert f"postgresql+asyncpg://retune:***@127.0.0.1:{port}/prefect does not answer: Connection refused" in said
    assert "a-secret" not in said


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_address_that_an_earlier_one_printed_means_a_server_of_its_own(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    port = free_port()
    address = f"http://{host}:{port}/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    assert _provider(None, "127.0.0.1", port) is None
    assert _provider(None, "127.0.0.1", port + 1) == address
    assert _provider(address, "127.0.0.1", port) == address
    with socket.create_server(("127.0.0.1", port)):
        assert _provider(None, "127.0.0.1", port) == address


def test_others_need_keys(tmp_path: Path) -> None:
    process = command(tmp_path, "--host", "0.0.0.0")  # noqa: S104  (refused)
    assert process.wait(60) == 1
    assert "Other machines can reach 0.0.0.0, and RETUNE_SERVER_API_KEY is not set" in (tmp_path / "output").read_text()
