"""Programs that `retune up` keeps running: real processes, restarted and stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from prefect_process import eventually

from retune.errors import ServerError
from retune.local import managed_process
from retune.local.managed_process import ManagedProcess, Program, Watchdog
from retune.local.programs import Addresses, UpOptions, programs
from retune.processes.marks import marked_processes

_DEADLINE_SECONDS = 240
_PAID_KEY = "sk-for-a-paid-provider"


def test_another_provider_gets_its_key_and_no_server_starts(tmp_path, monkeypatch):
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


def supervise(child: ManagedProcess, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < deadline:
        child.supervise(say)
        time.sleep(0.05)


def test_a_program_that_ends_is_started_again_and_given_up_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(managed_process, "_PAUSES_SECONDS", (0.0, 0.0))
    said: list[str] = []
    program = Program("worker", "nowhere", [sys.executable, "-c", "print('no memory')"], dict(os.environ))
    with Watchdog() as watchdog:
        child = ManagedProcess(program, tmp_path, watchdog)
        child.start()
        with pytest.raises(ServerError, match="worker ended 3 times: no memory"):
            supervise(child, said.append)
    assert len(said) == 2
    assert "no memory" in said[0]


def test_what_a_program_left_in_groups_of_their_own_ends_with_it(tmp_path):
    ended: list[str] = []
    orphan = "import os, time; os.setsid(); print('there', flush=True); time.sleep(600)"
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {orphan!r}]); time.sleep(600)"
    variables = {**os.environ, "PREFECT__FLOW_RUN_ID": "a-run"}
    program = Program("worker", "nowhere", [sys.executable, "-c", parent], variables)
    with Watchdog() as watchdog:
        child = ManagedProcess(program, tmp_path, watchdog, ended.extend)
        child.start()
        eventually(lambda: "there" in child.log.read_text(), "the orphan")
        child.stop()
        assert marked_processes(child.mark) == {}
    assert ended == ["a-run"]


def test_a_process_ends_that_was_started_just_before_its_starter_was_killed(tmp_path):
    there = tmp_path / "there"
    child = f"import pathlib, time; pathlib.Path({str(there)!r}).touch(); time.sleep(600)"
    starter = f"""
import os, pathlib, signal, subprocess, sys, time
from retune.local.managed_process import MARK, Watchdog

with Watchdog() as watchdog:
    watchdog.watch_mark("a-mark-of-{tmp_path.name}")
    environment = {{**os.environ, MARK: "a-mark-of-{tmp_path.name}"}}
    subprocess.Popen([sys.executable, "-c", {child!r}], env=environment, start_new_session=True)
    while not pathlib.Path({str(there)!r}).exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", starter], check=False, timeout=_DEADLINE_SECONDS)
    assert done.returncode == -signal.SIGKILL
    eventually(lambda: not marked_processes(f"a-mark-of-{tmp_path.name}"), "the end of the process")


def test_who_is_in_a_hurry_does_not_wait_for_a_program_that_does_not_end(tmp_path):
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(9e5)"
    )
    program = Program("worker", "", [sys.executable, "-c", stubborn], dict(os.environ), stop_seconds=900)
    with Watchdog() as watchdog:
        child = ManagedProcess(program, tmp_path, watchdog)
        child.start()
        eventually(lambda: "deaf" in child.log.read_text(), "the program")
        child.stop(lambda: True)
        assert marked_processes(child.mark) == {}


def test_news_are_whole_lines_said_once(tmp_path):
    with Watchdog() as watchdog:
        child = ManagedProcess(Program("worker", "", ["true"], dict(os.environ)), tmp_path, watchdog)
        child.log.write_text("one\ntwo\nthr")
        assert child.new_lines() == ["one", "two"]
        with child.log.open("a") as log:
            log.write("ee\n")
        assert child.new_lines() == ["three"]
        child.log.write_text("cut\n")
        assert child.new_lines() == ["cut"]
