"""Further processes that answer requests: started, replaced when they die, and stopped.

They share the listening socket. Background work stays in the main process; the database is what both know.

A worker is `python -m retune.server.process.workers LISTENER`. It reads the server's settings as a line of JSON from
standard input, and writes `ready` to standard output once it answers. Standard input stays open as long as the main
process lives; when it ends, so does the worker.
"""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from prometheus_client.multiprocess import mark_process_dead

from retune.errors import RetuneError, ServerError
from retune.processes.death_watch import stop_when_parent_exits
from retune.processes.process import (
    Process,
    close_pipes,
    describe_exit,
    has_printed,
    module_command,
    own_environment,
    send_line,
    start_process,
    stop_processes,
    take_standard_output,
    wait_until_ready,
)
from retune.server.app import build_app
from retune.server.process.http_server import LAST_ANSWERS_SECONDS, run_http_server
from retune.server.process.logs import set_up_logging
from retune.server.services import Services
from retune.server.settings import SECRET_VARIABLES, ServerSettings

_log = logging.getLogger(__name__)
READY: Final = b"ready\n"
_POLL_SECONDS = 0.2
_START_SECONDS = 60
_STOP_SECONDS = LAST_ANSWERS_SECONDS + 10
# A worker that lived this long did not fail because of its configuration.
_HEALTHY_SECONDS = 30
_MAX_BACKOFF_SECONDS = 30.0


@dataclass(slots=True)
class _Worker:
    """One worker, whichever process it currently is.

    Attributes:
        process: The current process.
        started_at: When it was started; monotonic time.
        early_deaths: How many in a row died soon after their start.
        due_at: When the next one is started, while `process` is dead; monotonic time.
    """

    process: Process
    started_at: float
    early_deaths: int = 0
    due_at: float | None = None


class WorkerPool:
    """As many workers as the settings say, from entering the context to leaving it.

    Entering waits until all of them answer.

    Raises:
        ServerError: A worker did not start.
    """

    def __init__(self, services: Services, listener: socket.socket) -> None:
        self._listener = listener
        settings, instance = services.settings.revealed(), services.instance
        self._startup_message = json.dumps({"settings": settings, "instance": instance}).encode()
        self._count = services.settings.workers
        self._metrics = services.directory.metrics
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        try:
            for _ in range(self._count):
                self._workers.append(_Worker(self._start(), time.monotonic()))
            for worker in self._workers:
                _wait_until_ready(worker.process)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def supervise(self, stopping: threading.Event) -> None:
        """Start a new worker for each that dies, until `stopping` is set."""
        while not stopping.wait(_POLL_SECONDS):
            for worker in self._workers:
                if worker.process.poll() is not None:
                    self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        if worker.due_at is None:
            self._clean_up(worker)
            now = time.monotonic()
            worker.early_deaths = worker.early_deaths + 1 if now - worker.started_at < _HEALTHY_SECONDS else 0
            worker.due_at = now + _delay_seconds(worker.early_deaths)
            how = describe_exit(worker.process.returncode)
            _log.error("Worker %d %s; starting another one", worker.process.pid, how)
        if time.monotonic() < worker.due_at:
            return
        try:
            worker.process = self._start()
        except OSError as error:
            _log.error("A worker can't be started: %s", error)  # the system's message suffices
            worker.due_at = time.monotonic() + _MAX_BACKOFF_SECONDS
        else:
            worker.started_at, worker.due_at = time.monotonic(), None

    def _clean_up(self, worker: _Worker) -> None:
        close_pipes(worker.process)
        mark_process_dead(worker.process.pid, str(self._metrics))  # type: ignore[no-untyped-call]  # has no types

    def _start(self) -> Process:
        handle = self._listener.fileno()
        process = start_process(
            module_command("retune.server.process.workers", str(handle)),
            environment=own_environment(without=SECRET_VARIABLES),
            stdout=subprocess.PIPE,
            pass_fds=[handle],
        )
        send_line(process, self._startup_message)
        return process

    def _stop(self) -> None:
        processes = [worker.process for worker in self._workers]
        for process in stop_processes(processes, grace_seconds=_STOP_SECONDS):
            _log.warning("Worker %d did not stop in time and was killed", process.pid)
        shutil.rmtree(self._metrics, ignore_errors=True)


def _wait_until_ready(process: Process) -> None:
    wait_until_ready(
        process,
        lambda: has_printed(process, READY),
        timeout_seconds=_START_SECONDS,
        failure=lambda what: ServerError(
            f"A worker process of the server {what}.",
            hint="Its error is above, or in the log. `--workers 1` needs no worker process.",
        ),
    )


def _delay_seconds(early_deaths: int) -> float:
    return min(0.5 * 2**early_deaths, _MAX_BACKOFF_SECONDS) if early_deaths > 1 else 0.0


def main() -> int:
    """Run one worker."""
    ready = take_standard_output()
    startup_message = json.loads(sys.stdin.buffer.readline())
    settings = ServerSettings.model_validate(startup_message["settings"])
    set_up_logging(settings.log_file)
    stop_when_parent_exits()
    try:
        services = Services.open_for_worker(settings, startup_message["instance"])
    except RetuneError as error:
        _log.error("%s", error)
        return 1
    listener = socket.socket(fileno=int(sys.argv[1]))
    run_http_server(build_app(services), listener, on_started=lambda: _say_ready(ready), shares_listener=True)
    return 0


def _say_ready(handle: int) -> None:
    os.write(handle, READY)
    os.close(handle)


if __name__ == "__main__":
    sys.exit(main())
