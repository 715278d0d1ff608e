"""`retune run` when the servers that it needs are killed while it trains."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from preloaded import PreloadedProcess
from waiting import DEADLINE_SECONDS, wait_for

from retune.processes.process import answers

pytestmark = pytest.mark.slow


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    rows = "".join(f"question {number % 3} {number},answer {number % 3}\n" for number in range(60))
    (tmp_path / "tickets.csv").write_text(f"message,answer\n{rows}")
    columns = ["--user-column", "message", "--assistant-column", "answer"]
    return ["run", "--data", "tickets.csv", *columns, "--output-dir", "out", "--n-epochs", "50", "--batch-size", "1"]


def trains(directory: Path) -> bool:
    job = directory / "out" / "job.json"
    return job.exists() and json.loads(job.read_bytes())["status"] == "running"


def process_ids(home: Path, module: str) -> list[int]:
    """The servers that answer for a home, by the module that each runs."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if words[2:4] == ["-m", module] and any(word.startswith(str(home)) for word in words):
            found.append(int(path.name))
    return found


def process_id(home: Path, module: str) -> int | None:
    found = process_ids(home, module)
    # What a server starts looks like the server until it runs its own program.
    return found[0] if len(found) == 1 else None


@contextmanager
def running(command: list[str], directory: Path, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "COLUMNS": "200", **variables}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = PreloadedProcess("retune.cli.app", command, cwd=directory, env=environment, text=True, **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def jobs(retune: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(retune("jobs", "list", "--json").stdout)
    return found


def test_killed_servers_of_a_run_are_restarted(retune: Any, command: list[str], tmp_path: Path) -> None:
    home = tmp_path / "retune-home"
    with running(command, tmp_path) as process:
        wait_for(lambda: trains(tmp_path), "the training", process=process)
        for module in ("retune.local.prefect_serving", "retune.server"):
            os.kill(wait_for(partial(process_id, home, module), module), signal.SIGKILL)
        output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, output + errors
    assert "The Prefect server is back." in output
    assert "The fine-tuning server is back." in output
    assert (tmp_path / "out" / "manifest.json").exists()
    assert errors == ""
    assert [job["status"] for job in jobs(retune)] == ["succeeded"]
    assert process_ids(home, "retune.local.prefect_serving") == []


_PASSWORD = "somebody:else"


@contextmanager
def somebody_s_prefect(home: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A Prefect server that the command has not started, and does not start again."""
    home.mkdir()
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "retune.local.prefect_serving", "--home", str(home)],
        env={**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_API_AUTH_STRING": _PASSWORD},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = home / "address"
    try:
        wait_for(address.exists, "the address of the server", process=server)
        yield f"{address.read_text()}/api", server
    finally:
        server.kill()
        server.communicate()


def test_somebody_s_prefect_that_is_gone_is_named_and_the_next_run_resumes(
    retune: Any, command: list[str], tmp_path: Path, prefect_api_url: str
) -> None:
    settings = {"RETUNE_PREFECT_PATIENCE_SECONDS": "5", "PREFECT_API_AUTH_STRING": _PASSWORD}
    with somebody_s_prefect(tmp_path / "prefect") as (api_url, server):
        wait_for(lambda: answers(f"{api_url}/health"), "the server", process=server)
        with running(command, tmp_path, PREFECT_API_URL=api_url, **settings) as process:
            wait_for(lambda: trains(tmp_path), "the training", process=process)
            server.kill()
            output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1, output + errors
    assert f"The Prefect server at {api_url} has not answered for 5 s" in errors
    assert "run the same command again" in errors
    assert "unexpected" not in errors
    assert "Traceback" not in errors

    again = retune(*command, PREFECT_API_URL=prefect_api_url)
    assert again.returncode == 0, again.stderr
    assert [job["status"] for job in jobs(retune)] == ["succeeded"]
