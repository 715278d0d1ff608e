"""A server on demand: started once, shared by processes, ended with its last user."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from openai import OpenAI
from server_process import ServerProcess
from waiting import wait_for

from retune.errors import ServerError
from retune.local.embedded_server import RunningServer, embedded_server, find_running_server
from retune.server.storage.data_directory import DataDirectory

USE_IT = """
import sys, time
from pathlib import Path
from retune.local.embedded_server import embedded_server
with embedded_server(Path(sys.argv[1])) as server:
    print(server.started_here, server.base_url, flush=True)
    sys.stdin.readline()
"""


def user(data_directory: Path) -> subprocess.Popen[str]:
    """A process of its own that uses the server until it reads a line."""
    return subprocess.Popen(
        [sys.executable, "-c", USE_IT, str(data_directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said_by(process: subprocess.Popen[str]) -> tuple[bool, str]:
    assert process.stdout
    started_here, base_url = process.stdout.readline().split()
    return started_here == "True", base_url


def answers(server: RunningServer) -> bool:
    with OpenAI(base_url=server.base_url, api_key="any", max_retries=0) as client:
        return bool(client.models.list().data)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"


def pid_of_server(data_directory: Path) -> int:
    announcement = DataDirectory(data_directory).announcement()
    assert announcement
    return announcement.pid


def test_a_server_is_started_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "some where" / "data"
    # It is for this machine alone and takes any key; this one is another server's.
    monkeypatch.setenv("RETUNE_SERVER_API_KEY", "sk-for-another-server")
    pids = []

    def use_until_ctrl_c() -> None:
        with embedded_server(data) as server:
            pids.append(pid_of_server(data))
            assert server.started_here
            assert answers(server)
            # The terminal's Ctrl-C does not reach it.
            assert os.getsid(pids[0]) == pids[0]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use_until_ctrl_c()

    assert is_gone(pids[0])
    assert find_running_server(data) is None
    assert "Traceback" not in (data / "server.log").read_text()


def test_a_running_server_is_used_and_not_stopped(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path).start()
    try:
        with embedded_server(tmp_path) as found:
            assert (found.started_here, found.base_url) == (False, server.base_url)

        assert server.request("GET", "/health").status == 200
    finally:
        server.end(signal.SIGTERM)


def test_the_loser_of_a_race_uses_the_winners_server(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        users = list(pool.map(lambda _: user(tmp_path), range(3)))
        said = list(pool.map(said_by, users))
    pid = pid_of_server(tmp_path)

    assert len({base_url for _, base_url in said}) == 1
    assert [started_here for started_here, _ in said].count(True) == 1
    for process in users:
        process.communicate("done\n")
        assert process.returncode == 0
    wait_for(lambda: is_gone(pid), "the end of the server")


@pytest.mark.slow
def test_the_server_runs_until_its_last_user_ends(tmp_path: Path) -> None:
    starter = user(tmp_path)
    assert said_by(starter)[0]
    pid = pid_of_server(tmp_path)
    with embedded_server(tmp_path) as server:
        assert not server.started_here

        starter.communicate("done\n")

        # Its starter has left; what it would take to stop has had its time.
        time.sleep(1)
        assert answers(server)
    wait_for(lambda: is_gone(pid), "the end of the server")
    with embedded_server(tmp_path) as server:
        assert server.started_here


def test_a_killed_user_leaves_nothing_behind(tmp_path: Path) -> None:
    process = user(tmp_path)
    said_by(process)
    pid = pid_of_server(tmp_path)

    process.send_signal(signal.SIGKILL)
    process.communicate()

    wait_for(lambda: is_gone(pid), "the end of the server")
    wait_for(lambda: find_running_server(tmp_path) is None, "no server")
    assert not (tmp_path / "server.json").exists()


def test_a_server_that_can_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "server.sqlite").write_bytes(b"no database at all, and long enough to be seen as none" * 50)

    with pytest.raises(ServerError) as caught, embedded_server(tmp_path):
        pass

    assert "damaged" in caught.value.message
    assert "server.log" in str(caught.value.hint)


def test_a_server_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerError, match="was not ready within"),
        embedded_server(tmp_path, startup_timeout_seconds=0.05),
    ):
        pass

    assert find_running_server(tmp_path) is None
