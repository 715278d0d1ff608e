"""Real processes, started, shared and killed."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from waiting import wait_for

from retune.errors import ServerError
from retune.processes.process import answers
from retune.processes.shared import ProcessPlan, shared_process

SERVER = """
import http.server, os, pathlib, sys
from retune.processes.shared import stop_when_unused
directory = pathlib.Path(sys.argv[1])
stop_when_unused(directory / "users.lock")
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *arguments): pass
port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
server = http.server.HTTPServer(("127.0.0.1", port), Healthy)
(directory / "pid").write_text(str(os.getpid()))
(directory / "address").write_text(f"http://127.0.0.1:{server.server_port}")
server.serve_forever()
"""

USER = """
import sys, pathlib
from tests_plan import plan
from retune.processes.shared import shared_process
with shared_process(plan(pathlib.Path(sys.argv[1]))) as running:
    print(running.address, running.started_here, flush=True)
    sys.stdin.read()
"""


def plan(directory: Path, program: str = SERVER, timeout: float = 20) -> ProcessPlan:
    def find() -> str | None:
        with contextlib.suppress(OSError):
            address = (directory / "address").read_text()
            return address if answers(address) else None
        return None

    return ProcessPlan(
        name="The test server",
        directory=directory,
        log=directory / "output.log",
        find=find,
        command=[sys.executable, "-c", program, str(directory)],
        command_again=lambda address: [sys.executable, "-c", program, str(directory), address.rpartition(":")[2]],
        environment={},
        startup_timeout_seconds=timeout,
    )


def wait_until_silent(address: str) -> None:
    wait_for(lambda: not answers(address), f"the end of {address}")


@contextlib.contextmanager
def another_user(directory: Path) -> Iterator[tuple["subprocess.Popen[str]", str, str]]:
    program = USER.replace(
        "from tests_plan import plan",
        f"import runpy; sys.path[:0] = {sys.path!r}; plan = runpy.run_path({__file__!r})['plan']",
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address, started = process.stdout.readline().split()
        yield process, address, started
    finally:
        process.kill()
        process.communicate()


def test_it_is_started_and_ends_with_the_block(tmp_path: Path) -> None:
    with shared_process(plan(tmp_path)) as running:
        assert running.started_here
        assert answers(running.address)
    assert not answers(running.address)


def test_a_second_user_shares_it_and_keeps_it_alive(tmp_path: Path) -> None:
    with another_user(tmp_path) as (first, address, _):
        with shared_process(plan(tmp_path)) as mine:
            assert (mine.address, mine.started_here) == (address, False)
            first.communicate("")
            time.sleep(0.3)
            assert answers(address)
        wait_until_silent(address)


def test_nothing_is_left_behind_when_the_user_is_killed(tmp_path: Path) -> None:
    with another_user(tmp_path) as (user, address, started):
        assert started == "True"
        os.kill(user.pid, signal.SIGKILL)
        wait_until_silent(address)


def test_one_that_is_kept_comes_back_at_its_address(tmp_path: Path) -> None:
    said: list[str] = []
    with shared_process(plan(tmp_path), said.append) as running:
        for times in (1, 2):
            kill(tmp_path)
            wait_for(partial(comes_back, said, times), "its return")
            assert answers(running.address)
    assert not answers(running.address)


@pytest.mark.slow
def test_one_that_another_started_is_kept_too(tmp_path: Path) -> None:
    said: list[str] = []
    with another_user(tmp_path) as (first, address, _), shared_process(plan(tmp_path), said.append):
        kill(tmp_path)
        wait_for(lambda: "The test server is back." in said, "its return")
        assert answers(address)
        first.communicate("")
        assert answers(address)
    assert not answers(address)


@pytest.mark.slow
def test_one_that_another_program_keeps_is_left_to_it(tmp_path: Path) -> None:
    said: list[str] = []
    is_kept = threading.Event()
    is_kept.set()
    asked: list[bool] = []

    def is_kept_elsewhere() -> bool:
        asked.append(is_kept.is_set())
        return asked[-1]

    theirs = replace(plan(tmp_path), is_kept_elsewhere=is_kept_elsewhere)
    with another_user(tmp_path), shared_process(theirs, said.append):
        kill(tmp_path)
        wait_for(lambda: len(asked) > 1, "the second question")
        assert said == []
        is_kept.clear()
        wait_for(lambda: "The test server is back." in said, "its return")


@pytest.mark.slow
def test_one_that_can_t_come_back_is_given_up(tmp_path: Path) -> None:
    said: list[str] = []
    fragile = replace(plan(tmp_path), command_again=lambda _: [sys.executable, "-c", "print('no memory')"])
    with shared_process(fragile, said.append):
        kill(tmp_path)
        wait_for(lambda: any("is not restarted" in line for line in said), "the end of attempts")
    assert any("could not be restarted" in line and "no memory" in line for line in said)


def comes_back(said: list[str], times: int) -> bool:
    return said.count("The test server is back.") == times


def kill(directory: Path) -> None:
    os.kill(int((directory / "pid").read_text()), signal.SIGKILL)


def test_two_starters_at_once_end_up_with_one_server(tmp_path: Path) -> None:
    with another_user(tmp_path) as (_, one, first), another_user(tmp_path) as (_, two, second):
        assert one == two
        assert sorted((first, second)) == ["False", "True"]


def test_an_address_that_nobody_serves_any_more_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "address").write_text("http://127.0.0.1:1")
    with shared_process(plan(tmp_path)) as running:
        assert running.address != "http://127.0.0.1:1"


def test_why_it_could_not_start_is_said(tmp_path: Path) -> None:
    dying = plan(tmp_path, program="import sys; print('the disk is on fire'); sys.exit(3)")
    with (
        pytest.raises(ServerError, match="did not start: it exited with status 3: the disk is on fire") as caught,
        shared_process(dying),
    ):
        pass
    assert str(tmp_path / "output.log") in str(caught.value.hint)


def test_one_that_never_answers_is_ended(tmp_path: Path) -> None:
    silent = plan(tmp_path, program="import os,sys,time; print(os.getpid(), flush=True); time.sleep(60)", timeout=1)
    with pytest.raises(ServerError, match="was not ready within 1 s"), shared_process(silent):
        pass
    pid = int((tmp_path / "output.log").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_start_that_is_not_needed_any_more_is_ended(tmp_path: Path) -> None:
    log, stopping = tmp_path / "output.log", threading.Event()
    silent = plan(tmp_path, program="import os,time; print(os.getpid(), flush=True); time.sleep(600)", timeout=600)

    def stop_once_it_runs() -> None:
        wait_for(lambda: log.exists() and log.read_text().endswith("\n"), "its start")
        stopping.set()

    stopper = threading.Thread(target=stop_once_it_runs)
    stopper.start()
    with pytest.raises(ServerError, match="is not needed any more"), shared_process(silent, stopping=stopping):
        pass
    stopper.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)
