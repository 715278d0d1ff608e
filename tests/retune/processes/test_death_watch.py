"""Processes that end because their parent was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from waiting import wait_for

from retune.processes.death_watch import MARK, Watchdog, kill_marked, marked_processes
from retune.processes.process import own_environment, start_process, stop_processes

_DEADLINE_SECONDS = 240
_SLEEP = "import time; time.sleep(600)"


def start_marked(mark: str, program: str = _SLEEP) -> "subprocess.Popen[bytes]":
    environment = own_environment({MARK: mark})
    return start_process([sys.executable, "-c", program], environment=environment, stdin=subprocess.DEVNULL)


def run_until_killed(program: str) -> None:
    """Run a program that kills itself with SIGKILL."""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=_DEADLINE_SECONDS)
    assert done.returncode == -signal.SIGKILL


def test_marked_processes_are_killed_in_whatever_group_they_are(tmp_path: Path) -> None:
    mark = f"mark-{tmp_path.name}"
    there = tmp_path / "there"
    child = f"import pathlib, time; pathlib.Path({str(there)!r}).touch(); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)"
    start_marked(mark, parent).wait(_DEADLINE_SECONDS)
    wait_for(there.exists, "the orphan")
    other = start_marked(f"{mark}-other")
    [orphan] = marked_processes(mark)

    kill_marked(mark)

    assert marked_processes(mark) == {}
    assert orphan != other.pid
    assert other.poll() is None
    stop_processes([other], grace_seconds=60)


def test_child_started_just_before_its_parents_kill_is_killed(tmp_path: Path) -> None:
    mark = f"mark-{tmp_path.name}"
    there = tmp_path / "there"
    child = f"import pathlib, time; pathlib.Path({str(there)!r}).touch(); time.sleep(600)"
    run_until_killed(f"""
import os, pathlib, signal, subprocess, sys, time
from retune.processes.death_watch import MARK, Watchdog

with Watchdog() as watchdog:
    watchdog.watch_mark({mark!r})
    environment = {{**os.environ, MARK: {mark!r}}}
    subprocess.Popen([sys.executable, "-c", {child!r}], env=environment, start_new_session=True)
    while not pathlib.Path({str(there)!r}).exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
""")
    wait_for(lambda: not marked_processes(mark), "the end of the process")


def test_a_watched_group_gets_sigterm_first_when_the_parent_is_killed(tmp_path: Path) -> None:
    said = tmp_path / "said"
    child = f"""
import pathlib, signal, sys, time
said = pathlib.Path({str(said)!r})
def stop(*_):
    said.write_text("stopped in good order")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
said.write_text("ready")
time.sleep(600)
"""
    run_until_killed(f"""
import os, pathlib, signal, subprocess, sys, time
from retune.processes.death_watch import Watchdog
from retune.processes.process import own_environment, start_process

with Watchdog() as watchdog:
    gone = start_process([sys.executable, "-c", "pass"], environment=own_environment())
    watchdog.watch_group(gone.pid)
    gone.wait()
    watchdog.forget(gone.pid)
    child = start_process([sys.executable, "-c", {child!r}], environment=own_environment(), stdin=subprocess.DEVNULL)
    watchdog.watch_group(child.pid)
    said = pathlib.Path({str(said)!r})
    while not said.exists() or said.read_text() != "ready":
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
""")
    wait_for(lambda: said.read_text() == "stopped in good order", "the child's end")


def test_a_watchdog_that_is_not_needed_any_more_ends_nothing(tmp_path: Path) -> None:
    mark = f"mark-{tmp_path.name}"
    with Watchdog() as watchdog:
        watchdog.watch_mark(mark)
        child = start_marked(mark)
        watchdog.watch_group(child.pid)
    assert child.poll() is None
    assert list(marked_processes(mark)) == [child.pid]
    stop_processes([child], grace_seconds=60)


def test_a_process_that_watches_its_input_ends_with_its_parent(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    child = f"""
import os, pathlib, time
from retune.processes.death_watch import stop_when_parent_exits
stop_when_parent_exits()
pathlib.Path({str(pid)!r}).write_text(f"{{os.getpid()}}\\n")
time.sleep(600)
"""
    run_until_killed(f"""
import os, pathlib, signal, sys, time
from retune.processes.process import own_environment, start_process
child = start_process([sys.executable, "-c", {child!r}], environment=own_environment())
pid = pathlib.Path({str(pid)!r})
while not pid.exists() or not pid.read_text().endswith("\\n"):
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
""")
    wait_for(lambda: not exists(int(pid.read_text())), "the child's end")


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that nobody waits for stays as a zombie, where the first process of the system does not.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
