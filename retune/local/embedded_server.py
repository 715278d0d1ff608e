"""The fine-tuning server of a data directory: the one that runs, or one that is started while it is needed."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from retune.processes.process import module_command
from retune.processes.shared import ProcessPlan, shared_process
from retune.server.settings import SECRET_VARIABLES
from retune.server.storage.data_directory import DataDirectory

_HEALTH_TIMEOUT_SECONDS = 2.0


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
def embedded_server(
    data_directory: Path,
    *,
    startup_timeout_seconds: float = 60,
    say: Callable[[str], None] | None = None,
    stopping: threading.Event | None = None,
) -> Iterator[RunningServer]:
    """Use the server of a data directory within the block, starting one if none runs.

    A server that was started ends with its last user: at the end of the block, or later if other processes use it by
    then, or when this process is killed.

    Args:
        data_directory: The server's data directory; made if it is missing.
        startup_timeout_seconds: Longest wait for the server to answer.
        say: See `retune.processes.shared.shared_process`.
        stopping: Likewise.

    Raises:
        ServerError: The server can't be started; the message holds what it said.
    """
    directory = DataDirectory(data_directory)
    directory.create()

    def command(port: int | None) -> list[str]:
        files = ("--data-dir", str(directory.path), "--log-file", str(directory.log))
        return module_command("retune.server", "--port", str(port or 0), "--exit-with-parent", *files)

    plan = ProcessPlan(
        name="The fine-tuning server",
        directory=directory.path,
        log=directory.log,
        find=lambda: find_running_server(directory.path),
        command=command(None),
        command_again=lambda address: command(urlsplit(address).port),
        # It is for this machine alone: takes any key, keeps its own database. The variables are for a server that
        # others can reach.
        environment=dict.fromkeys(SECRET_VARIABLES),
        startup_timeout_seconds=startup_timeout_seconds,
    )
    with shared_process(plan, say, stopping) as running:
        yield RunningServer(running.address, started_here=running.started_here)


def find_running_server(data_directory: Path) -> str | None:
    """Base URL of the server that answers for a data directory; None if none does."""
    announcement = DataDirectory(data_directory).announcement()
    if announcement is None:
        return None
    # The port may belong to another program by now.
    return announcement.base_url if _instance_at(announcement.base_url) == announcement.instance else None


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
