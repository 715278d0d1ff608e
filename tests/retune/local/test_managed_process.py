"""Programs that `retune up` keeps running: real processes, restarted and stopped."""

import os
import sys
from pathlib import Path

import pytest
from waiting import wait_for

from retune.errors import ServerError
from retune.local.managed_process import ManagedProcess, Program
from retune.local.programs import Addresses, UpOptions, programs
from retune.processes.death_watch import Watchdog, marked_processes

_PAID_KEY = "sk-for-a-paid-provider"


def test_another_providers_key_reaches_only_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", _PAID_KEY)
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:word")
    options = UpOptions("127.0.0.1", 4200, 8123, None, "https://api.openai.com/v1", 2, has_worker=True)
    plan = programs(options, Addresses.of(options), tmp_path)
    assert [program.name for program in plan.servers] == ["prefect server"]
    assert plan.worker is not None
    assert plan.worker.environment["OPENAI_API_KEY"] == _PAID_KEY
    assert plan.worker.environment["PREFECT_API_AUTH_STRING"] == "admin:word"
    assert "PREFECT_SERVER_API_AUTH_STRING" not in plan.worker.environment
    assert "OPENAI_API_KEY" not in plan.servers[0].environment


def test_a_program_that_ends_is_restarted_and_given_up_after_a_while(tmp_path: Path) -> None:
    said: list[str] = []
    command = [sys.executable, "-c", "print('no memory')"]
    program = Program("worker", "nowhere", command, dict(os.environ), restart_delays_seconds=(0.0, 0.0))
    with Watchdog() as watchdog:
        child = ManagedProcess(program, tmp_path, watchdog)
        child.start()

        def supervise() -> None:
            child.supervise(said.append)

        with pytest.raises(ServerError, match="worker ended 3 times: no memory"):
            wait_for(supervise, "the error")
    assert len(said) == 2
    assert "no memory" in said[0]


def test_processes_in_other_groups_are_killed_when_their_program_stops(tmp_path: Path) -> None:
    ended: list[str] = []
    orphan = "import os, time; os.setsid(); print('there', flush=True); time.sleep(600)"
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {orphan!r}]); time.sleep(600)"
    variables = {**os.environ, "PREFECT__FLOW_RUN_ID": "a-run"}
    program = Program("worker", "nowhere", [sys.executable, "-c", parent], variables)
    with Watchdog() as watchdog:
        child = ManagedProcess(program, tmp_path, watchdog, ended.extend)
        child.start()
        wait_for(lambda: "there" in child.log.path.read_text(), "the orphan")
        child.stop()
        assert marked_processes(child.mark) == {}
    assert ended == ["a-run"]


def test_a_hurried_stop_kills_a_program_that_ignores_sigterm(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(9e5)"
    )
    program = Program("worker", "", [sys.executable, "-c", stubborn], dict(os.environ), stop_seconds=900)
    with Watchdog() as watchdog:
        child = ManagedProcess(program, tmp_path, watchdog)
        child.start()
        wait_for(lambda: "deaf" in child.log.path.read_text(), "the program")
        child.stop(lambda: True)
        assert marked_processes(child.mark) == {}


def test_what_an_ended_program_left_is_killed_before_its_restart(tmp_path: Path) -> None:
    ended: list[str] = []
    said: list[str] = []
    left = "import os, time; print('left', flush=True); time.sleep(600)"
    leaving = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {left!r}], start_new_session=True)"
    variables = {**os.environ, "PREFECT__FLOW_RUN_ID": "a-run"}
    program = Program("worker", "", [sys.executable, "-c", leaving], variables, restart_delays_seconds=(900.0,))
    with Watchdog() as watchdog:
        child = ManagedProcess(program, tmp_path, watchdog, ended.extend)
        child.start()
        wait_for(lambda: "left" in child.log.path.read_text(), "what is left")

        def has_seen_its_end() -> bool:
            child.supervise(said.append)
            return bool(said)

        wait_for(has_seen_its_end, "its end to be seen")
        assert marked_processes(child.mark) == {}
        child.stop()
    assert said == ["worker has ended (left); restarting it in 900 s"]
    assert ended == ["a-run"]


def test_a_program_that_never_becomes_ready_is_reported_with_its_last_error(tmp_path: Path) -> None:
    program_text = "import time; print('ValueError: no room'); print('Bye.', flush=True); time.sleep(600)"
    program = Program(
        "server", "", [sys.executable, "-c", program_text], dict(os.environ), lambda: False, startup_timeout_seconds=2
    )
    with Watchdog() as watchdog:
        child = ManagedProcess(program, tmp_path, watchdog)
        child.start()
        wait_for(lambda: "Bye" in child.log.path.read_text(), "its output")
        with pytest.raises(ServerError, match="server was not ready within 2 s: ValueError: no room"):
            child.wait_until_ready(lambda: None)
        child.stop()
