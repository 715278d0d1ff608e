"""A server on demand: use the one that runs on a data directory, or start one for as long as it is needed."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from retune.errors import ServerError
from retune.server.data_directory import DataDirectory, DataDirectoryInUseError, SharedUse
from retune.server.settings import API_KEY_VARIABLE

_POLL_SECONDS = 0.02
_HEALTH_TIMEOUT_SECONDS = 2.0
_STOP_TIMEOUT_SECONDS = 15.0
_LOG_TAIL_BYTES = 2000

# Servers that others still use when whoever started them is done; they end with their last user.
_left_to_others: list["subprocess.Popen[bytes]"] = []


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers.

    Attributes:
        base_url: Its API's address, `http://127.0.0.1:PORT/v1`.
        started_here: Whether this call started it.
    """

    base_url: str
    started_here: bool


@contextmanager
def embedded_server(data_directory: Path, *, startup_timeout_seconds: float = 30) -> Iterator[RunningServer]:
    """Use the server of a data directory within the block, starting one if none runs.

    A server that was started is stopped at the end of the block, unless other processes use it by then: it ends with
    the last of them. If this process is killed, the server notices and stops by itself.

    Args:
        data_directory: The server's data directory; made if it is missing.
        startup_timeout_seconds: Longest wait for the server to answer.

    Raises:
        ServerError: The server can't be started; the message holds what it said.
    """
    directory = DataDirectory(data_directory)
    directory.create()
    with directory.shared_use() as use:
        process, base_url = _find_or_start(directory, startup_timeout_seconds)
        try:
            yield RunningServer(base_url, started_here=process is not None)
        finally:
            if process:
                _stop(process, use)


def find_running_server(data_directory: Path) -> str | None:
    """Base URL of the server that answers for a data directory; None if none does."""
    announcement = DataDirectory(data_directory).announcement()
    if announcement is None:
        return None
    # The port may belong to another program by now.
    return announcement.base_url if _instance_at(announcement.base_url) == announcement.instance else None


def _find_or_start(directory: DataDirectory, timeout_seconds: float) -> tuple["subprocess.Popen[bytes] | None", str]:
    deadline = time.monotonic() + timeout_seconds
    while True:
        base_url = find_running_server(directory.path)
        if base_url:
            return None, base_url
        log_start = directory.log.stat().st_size if directory.log.exists() else 0
        process = _start(directory)
        base_url = _wait_until_healthy(process, directory, deadline)
        if base_url:
            return process, base_url
        if process.returncode != DataDirectoryInUseError.EXIT_STATUS or time.monotonic() > deadline:
            raise ServerError(
                f"The fine-tuning server did not start on {directory.path}: {_log_tail(directory.log, log_start)}",
                hint=f"Its log is {directory.log}.",
            )


def _start(directory: DataDirectory) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-P", "-m", "retune.server", "--port", "0", "--exit-with-parent"]
    environment = {name: value for name, value in os.environ.items() if name != API_KEY_VARIABLE}
    with directory.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603  # our own program, and a path that is no option
            [*command, "--data-dir", str(directory.path)],
            # Standard input is the lifeline: it ends with this process, however that ends.
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            # The terminal's Ctrl-C reaches the server through this process alone.
            start_new_session=True,
        )


def _wait_until_healthy(process: "subprocess.Popen[bytes]", directory: DataDirectory, deadline: float) -> str | None:
    try:
        while process.poll() is None and time.monotonic() < deadline:
            announcement = directory.announcement()
            if announcement and announcement.pid == process.pid and find_running_server(directory.path):
                return announcement.base_url
            time.sleep(_POLL_SECONDS)
    except BaseException:
        _end(process)
        raise
    _end(process)
    return None


def _stop(process: "subprocess.Popen[bytes]", use: SharedUse) -> None:
    if use.become_sole():
        _end(process)
    else:
        _close_lifeline(process)
        _left_to_others.append(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _close_lifeline(process)


def _close_lifeline(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin:
        process.stdin.close()


def _instance_at(base_url: str) -> str | None:
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_HEALTH_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health")
        body = json.loads(connection.getresponse().read())
        instance = body.get("instance")
        return instance if isinstance(instance, str) else None
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return None
    finally:
        connection.close()


def _log_tail(log: Path, start: int) -> str:
    with log.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(start, size - _LOG_TAIL_BYTES))
        return stream.read().decode("utf-8", "replace").strip() or "it said nothing."
