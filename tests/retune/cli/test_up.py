"""`retune up` as a person runs it: the real command, in a directory of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect_process import eventually

from retune.cli import up_children
from retune.cli.up_children import Child, Keeper, Program
from retune.cli.up_programs import Addresses, Wishes, programs
from retune.errors import ServerError

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
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def processes(self) -> dict[int, str]:
        """All processes that belong to it, and their command lines."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"RETUNE_HOME={self.directory}/home".encode() in (path / "environ").read_bytes().split(b"\0"):
                    found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
        return found


def command(directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    variables = {**os.environ, "RETUNE_HOME": f"{directory}/home", "OPENAI_API_KEY": _PAID_KEY, "COLUMNS": "200"}
    with (directory / "output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "retune.cli.app", "up", *arguments],
            cwd=directory,
            env=variables,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    directory = tmp_path_factory.mktemp("up")
    (directory / "tickets.csv").write_text("message,answer\n" + "".join(f"question {i},answer\n" for i in range(40)))
    port, server_port = free_port(), free_port()
    process = command(directory, "--port", str(port), "--server-port", str(server_port))
    up = Up(directory, port, server_port, process)
    try:
        eventually(lambda: "Ctrl-C" in up.output or process.poll() is not None, "the whole system")
        assert process.poll() is None, up.output
        yield up
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pid in up.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_everything_is_there(running):
    assert f"http://127.0.0.1:{running.port}" in running.output
    assert "retrain/nightly" in running.output
    names = {deployment["name"] for deployment in running.ask("/deployments/filter", {})}
    assert names == {"nightly", "on-new-data", "manual", "every-10-minutes", "hourly", "reaper"}
    with urllib.request.urlopen(f"http://127.0.0.1:{running.server_port}/health", timeout=30) as answer:
        assert answer.status == 200


def test_without_data_nothing_is_scheduled(running):
    """There is no examples/support_tickets.yaml in this directory, and nobody named another file."""
    schedules = {
        one["name"]: [schedule["active"] for schedule in one["schedules"]]
        for one in running.ask("/deployments/filter", {})
    }
    assert schedules["nightly"] == schedules["every-10-minutes"] == [False]
    assert "RETUNE_RETRAIN_CONFIG" in running.output


def test_a_run_trains_here_on_data_of_the_current_directory(running):
    [manual] = [one for one in running.ask("/deployments/filter", {}) if one["name"] == "manual"]
    config = {
        "data": {"source": "tickets.csv", "user_column": "message", "assistant_column": "answer"},
        "training": {"hyperparameters": {"n_epochs": 1}},
    }
    run = running.ask(f"/deployments/{manual['id']}/create_flow_run", {"parameters": {"config": config}})

    def ended() -> Any:
        state = running.ask(f"/flow_runs/{run['id']}")["state"]
        return state if state["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

    state = eventually(ended, "the run")
    assert state["type"] == "COMPLETED", state
    assert list((running.directory / "home" / "runs").glob("*/manifest.json"))


def test_a_key_for_a_paid_provider_reaches_nothing(running):
    for pid, name in running.processes().items():
        if "retune.cli.app" in name or "up_children" in name:
            continue
        with suppress(OSError):
            assert _PAID_KEY.encode() not in Path(f"/proc/{pid}/environ").read_bytes(), name


def test_a_second_one_says_where_the_first_is(running):
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


def test_ctrl_c_ends_all_of_it(running):
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(60) == 0, running.output
    eventually(lambda: not running.processes(), "the end of all processes")
    assert "Everything is kept" in running.output


def test_nothing_outlives_a_killed_one(tmp_path):
    up = Up(tmp_path, free_port(), free_port(), None)  # type: ignore[arg-type]
    up.process = command(tmp_path, "--port", str(up.port), "--server-port", str(up.server_port))
    try:
        eventually(lambda: len(up.processes()) >= 4, "its children")
        up.process.kill()
        up.process.wait()
        eventually(lambda: not up.processes(), "the end of all processes")
    finally:
        for pid in up.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = command(tmp_path, "--port", str(port))
        assert process.wait(60) == 1
    assert f"port {port}: Address already in use" in (tmp_path / "output").read_text()
    assert "--port" in (tmp_path / "output").read_text()


def test_others_need_keys(tmp_path):
    process = command(tmp_path, "--host", "0.0.0.0")  # noqa: S104  (refused)
    assert process.wait(60) == 1
    assert "PREFECT_SERVER_API_AUTH_STRING and RETUNE_SERVER_API_KEY are not set" in (tmp_path / "output").read_text()


def test_another_provider_gets_its_key_and_no_server_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", _PAID_KEY)
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:word")
    wishes = Wishes("127.0.0.1", 4200, 8123, None, "https://api.openai.com/v1", 2, has_worker=True)
    plan = programs(wishes, Addresses.of(wishes), tmp_path)
    assert [program.name for program in plan.servers] == ["prefect server"]
    assert plan.worker is not None
    assert plan.worker.environment["OPENAI_API_KEY"] == _PAID_KEY
    assert plan.worker.environment["PREFECT_API_AUTH_STRING"] == "admin:word"
    assert "PREFECT_SERVER_API_AUTH_STRING" not in plan.worker.environment
    assert "OPENAI_API_KEY" not in plan.servers[0].environment


def look_after(child: Child, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < deadline:
        child.look_after(say)
        time.sleep(0.05)


def test_a_program_that_ends_is_started_again_and_given_up_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(up_children, "_PAUSES_SECONDS", (0.0, 0.0))
    said: list[str] = []
    program = Program("worker", "nowhere", [sys.executable, "-c", "print('no memory')"], dict(os.environ))
    with Keeper() as keeper:
        child = Child(program, tmp_path, keeper)
        child.start()
        with pytest.raises(ServerError, match="worker ended 3 times: no memory"):
            look_after(child, said.append)
    assert len(said) == 2
    assert "no memory" in said[0]
