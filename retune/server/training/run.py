"""One training process: started, followed, and stopped."""

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from retune.processes.logs import ProcessLog
from retune.processes.process import (
    Process,
    describe_exit,
    module_command,
    own_environment,
    send_line,
    start_process,
    stop_processes,
)
from retune.server.settings import SECRET_VARIABLES
from retune.server.training.process import ProcessUpdate, parse_update
from retune.trainers.base import TrainingTask

# What comes within this time shares a transaction; clients see a step no later than this and a commit.
_POLL_SECONDS = 0.15
_READ_BYTES = 1 << 20
# Time for a process to record its current step or checkpoint; if longer, cancelling would take a second.
_GRACE_SECONDS = 0.5

# The matrices are small: more threads of OpenBLAS spin more than they compute, and took two to seven times as long on
# two cores that others used too.
_ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1"}

LOG_NAME = "training.log"
JOURNAL_NAME = "updates.jsonl"

Write = Callable[[Sequence[ProcessUpdate]], bool]


class TrainingRun:
    """Runs one training in a process of its own.

    The process's standard output is a file in the task's directory: the journal. What the process reported is there
    even if the server was killed before it could write it down. What else it prints goes to `training.log`.

    Args:
        task: What to train.
        stopping: Set to end the process, or not to begin it; the checkpoints on disk stay good.
    """

    def __init__(self, task: TrainingTask, stopping: threading.Event) -> None:
        self._task = task
        self._journal = task.directory / JOURNAL_NAME
        self._log = ProcessLog(task.directory / LOG_NAME)
        self._position = 0
        self._stopping = stopping
        self._process: Process | None = None

    def replay(self, write: Write) -> None:
        """Pass on what an earlier process of this training reported, whether it was recorded then or not."""
        if self._journal.exists():
            self._wait_for_predecessor()
            if self._stopping.is_set():
                return
            _drop_torn_line(self._journal)
            while (updates := self._new_updates()) and write(updates):
                pass

    def follow(self, write: Write, *, resume: bool) -> None:
        """Start the process, and pass on what it reports until it has ended or `write` returns false."""
        process = self._process = self._start()
        try:
            task = self._task.model_copy(update={"resume": resume})
            send_line(process, task.model_dump_json().encode())
            self._follow(process, write)
        finally:
            stop_processes([process], grace_seconds=_GRACE_SECONDS)

    def describe_end(self) -> str:
        """How the process ended, and what it printed last."""
        status = self._process.returncode if self._process else None
        if status is None:
            return "The training process was not started."
        hint = " The machine may have run out of memory." if status == -signal.SIGKILL else ""
        words = self._log.last_words()
        said = f" It printed last: {words}" if words else ""
        return f"The training process {describe_exit(status)} before the training was over.{hint}{said}"

    def _wait_for_predecessor(self) -> None:
        # A process whose server was killed needs a moment to notice; it holds its journal's lock until it is gone.
        with self._journal.open("rb") as journal:
            while not self._stopping.is_set():
                try:
                    fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._stopping.wait(_POLL_SECONDS)
                else:
                    return

    def _start(self) -> Process:
        with self._log.open() as log, self._journal.open("ab") as journal:
            # The lock goes with the open file, which the process inherits and this one closes.
            fcntl.flock(journal, fcntl.LOCK_EX)
            self._position = journal.tell()
            return start_process(
                module_command("retune.server.training.process"),
                environment={**_ENVIRONMENT, **own_environment(without=SECRET_VARIABLES)},
                stdout=journal,
                stderr=log,
            )

    def _follow(self, process: Process, write: Write) -> None:
        while True:
            has_ended = process.poll() is not None
            updates = self._new_updates()
            # An empty list is written too: the result says whether the job is still running.
            if not write(updates) or (has_ended and not updates):
                return
            if not has_ended and self._stopping.wait(_POLL_SECONDS):
                stop_processes([process], grace_seconds=_GRACE_SECONDS)

    def _new_updates(self) -> list[ProcessUpdate]:
        with self._journal.open("rb") as journal:
            journal.seek(self._position)
            lines = journal.read(_READ_BYTES)
        whole = lines[: lines.rfind(b"\n") + 1]
        self._position += len(whole)
        return [parse_update(line) for line in whole.splitlines()]


def _drop_torn_line(journal: Path) -> None:
    """Cut off an incomplete last line: the next process appends after it."""
    content = journal.read_bytes()
    os.truncate(journal, content.rfind(b"\n") + 1)
