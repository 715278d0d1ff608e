"""Real processes: started, waited for, stopped; and their logs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import wait_for

from retune.errors import ServerError
from retune.processes.logs import MAX_LOG_BYTES, ProcessLog, bound_log
from retune.processes.process import (
    Process,
    describe_exit,
    has_printed,
    own_environment,
    send_line,
    start_process,
    stop_processes,
    wait_until_ready,
)

_GRACE_SECONDS = 240.0
_SLEEP = "import time; time.sleep(600)"
_IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); {_SLEEP}"


@contextmanager
def started(program: str, log: ProcessLog | None = None) -> Iterator[Process]:
    command = [sys.executable, "-c", program]
    if log is None:
        process = start_process(command, environment=own_environment(), stdout=subprocess.PIPE)
    else:
        with log.open() as stream:
            process = start_process(command, environment=own_environment(), stdout=stream, stderr=stream)
    try:
        yield process
    finally:
        stop_processes([process], grace_seconds=0)


def wait(process: Process, log: ProcessLog, *, timeout_seconds: float = 240) -> str:
    return wait_until_ready(
        process,
        lambda: "yes" if "ready" in log.output() else "",
        timeout_seconds=timeout_seconds,
        failure=lambda what: log.failure(f"The program {what}"),
    )


def test_it_is_in_a_session_of_its_own_with_the_given_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "a-secret")
    monkeypatch.setenv("OTHER", "another")
    environment = own_environment({"MODE": "test", "OTHER": None}, without=["SECRET"])
    program = "import os; print(os.getsid(0) == os.getpid(), *(os.environ.get(n) for n in ('MODE', 'OTHER', 'SECRET')))"
    process = start_process([sys.executable, "-c", program], environment=environment, stdout=subprocess.PIPE)
    output, _ = process.communicate()
    assert output == b"True test None None\n"


def test_a_process_is_ready_when_it_says_so() -> None:
    with started(f"import sys; print(sys.stdin.readline().strip(), flush=True); {_SLEEP}") as process:
        send_line(process, b"ready")
        assert wait_until_ready(
            process, lambda: has_printed(process, b"ready\n"), timeout_seconds=240, failure=AssertionError
        )


def test_a_log_that_cant_be_copied_when_it_is_full_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    (tmp_path / "log.1").mkdir()
    with ProcessLog(path).open() as stream:
        stream.write(b"more")
    assert path.read_bytes().endswith(b"xmore")


def test_other_words_do_not_make_it_ready() -> None:
    with started("print('other')") as process, pytest.raises(ServerError, match="printed b'other"):
        wait_until_ready(process, lambda: has_printed(process, b"ready\n"), timeout_seconds=240, failure=ServerError)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print('No room.'); print(); raise SystemExit(3)", "exited with status 3: No room."),
        ("print('OSError: no room'); print('Stopped.'); raise SystemExit(1)", "exited with status 1: OSError: no room"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL: it printed nothing"),
    ],
)
def test_a_failed_start_is_explained_by_what_the_process_printed_last(
    tmp_path: Path, program: str, reason: str
) -> None:
    log = ProcessLog(tmp_path / "log")
    log.path.write_text("ValueError: of an earlier process\n")
    with started(program, log) as process, pytest.raises(ServerError) as caught:
        wait(process, log)
    assert caught.value.message == f"The program did not start: it {reason}"
    assert str(log.path) in str(caught.value.hint)


def test_one_that_takes_too_long_is_reported_and_still_runs(tmp_path: Path) -> None:
    log = ProcessLog(tmp_path / "log")
    with started(_SLEEP, log) as process:
        with pytest.raises(ServerError, match=r"The program was not ready within 0\.1 s"):
            wait(process, log, timeout_seconds=0.1)
        assert process.poll() is None


def test_readiness_is_asked_once_more_after_its_end() -> None:
    """It may have found another process that does its work."""
    with started("pass") as process:
        process.wait()
        assert wait_until_ready(process, lambda: "the other's address", timeout_seconds=0, failure=AssertionError)


def test_a_wait_can_be_ended(tmp_path: Path) -> None:
    log = ProcessLog(tmp_path / "log")

    def stop() -> None:
        raise KeyboardInterrupt

    with started(_SLEEP, log) as process, pytest.raises(KeyboardInterrupt):
        wait_until_ready(process, bool, timeout_seconds=240, failure=AssertionError, at_each_poll=stop)


def test_those_that_end_by_sigterm_are_not_killed() -> None:
    with started(_SLEEP) as one, started(_SLEEP) as two:
        assert stop_processes([one, two], grace_seconds=_GRACE_SECONDS) == []
        assert [one.returncode, two.returncode] == [-signal.SIGTERM, -signal.SIGTERM]
        assert one.stdin is not None
        assert one.stdin.closed


@pytest.mark.parametrize(("grace_seconds", "is_hurried"), [(0.2, False), (_GRACE_SECONDS, True)])
def test_one_that_ignores_sigterm_is_killed(grace_seconds: float, is_hurried: bool) -> None:
    with started(_IGNORES_SIGTERM) as process:
        wait_for(lambda: has_printed(process, b"ready\n"), "the process")
        killed = stop_processes([process], grace_seconds=grace_seconds, is_hurried=lambda: is_hurried)
        assert killed == [process]
        assert process.returncode == -signal.SIGKILL


def test_what_it_started_in_its_group_ends_with_it() -> None:
    child = f"import os; print(os.getpid(), flush=True); {_IGNORES_SIGTERM}"
    with started(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); {_SLEEP}") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert os.getpgid(pid) == process.pid
        assert process.stdout.readline() == b"ready\n"
        assert stop_processes([process], grace_seconds=_GRACE_SECONDS) == []
        wait_for(lambda: has_ended(pid), "the end of its child")


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_stopping_one_that_was_waited_for_sends_no_signal() -> None:
    with started(_SLEEP) as bystander, started("pass") as process:
        process.wait()
        # Its number may be another's by now.
        process.pid = bystander.pid
        assert stop_processes([process], grace_seconds=_GRACE_SECONDS) == []
        assert bystander.poll() is None


def test_a_line_to_a_process_that_has_ended_is_lost_without_an_error() -> None:
    with started("import os; os.close(0)") as process:
        process.wait()
        send_line(process, b"too late")


def test_results_keep_standard_output_to_themselves() -> None:
    program = f"""
import os, sys
sys.path.insert(0, {str(Path.cwd())!r})
from retune.processes.process import take_standard_output
results = take_standard_output()
print("a library's greeting")
os.write(results, b"result\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"result\n"
    assert done.stderr == b"a library's greeting\n"


def test_exit_statuses_are_described() -> None:
    assert describe_exit(3) == "exited with status 3"
    assert describe_exit(-signal.SIGTERM) == "was killed by SIGTERM"


def test_a_full_log_moves_to_a_second_file_and_its_writer_continues(tmp_path: Path) -> None:
    log = ProcessLog(tmp_path / "log")
    program = "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)"
    with started(program, log) as process:
        send_line(process, b"x" * 100)
        wait_for(lambda: "x\n" in log.output(), "the first line")
        bound_log(log.path, max_bytes=1000)
        assert not (tmp_path / "log.1").exists()
        bound_log(log.path, max_bytes=100)
        assert (tmp_path / "log.1").read_text() == "x" * 100 + "\n"
        send_line(process, b"after")
        wait_for(lambda: log.path.read_text() == "after\n", "the second line")
        assert log.last_words() == "after"


def test_a_log_that_is_missing_has_no_bounds() -> None:
    bound_log(Path("/nonexistent/log"))


def test_a_log_is_for_its_owner_alone(tmp_path: Path) -> None:
    log = ProcessLog(tmp_path / "log")
    log.open().close()
    assert log.path.stat().st_mode & 0o077 == 0


def test_new_lines_are_returned_once_and_whole(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("of an earlier process\n")
    log = ProcessLog(tmp_path / "log")
    with log.path.open("a") as stream:
        stream.write("one\ntwo\nthr")
        stream.flush()
        assert log.new_lines() == ["one", "two"]
        stream.write("ee\n")
        stream.flush()
        assert log.new_lines() == ["three"]
    log.path.write_text("cut\n")
    assert log.new_lines() == ["cut"]
