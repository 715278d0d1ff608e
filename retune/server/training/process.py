"""The training process: `python -m retune.server.training.process`.

It reads one `TrainingTask` as a line of JSON from standard input, trains, and writes every update as a line of JSON
to standard output. Standard input stays open as long as the server lives; when it ends, or when SIGTERM comes, this
process ends after the current update: a checkpoint that is on disk but was never reported can't be resumed from.
"""

import math
import os
import signal
import sys
import threading
import time
import traceback
from typing import IO, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from retune.errors import TrainerError
from retune.processes.death_watch import when_parent_exits
from retune.processes.process import take_standard_output
from retune.trainers.base import StepMetrics, TrainingTask, TrainingUpdate
from retune.trainers.registry import default_trainer

EXIT_FAILED = 1
EXIT_SERVER_GONE = 3
_GRACE_SECONDS = 0.5
# The server and other programs of the machine come first: people wait for those.
_NICENESS = 5


class TrainingFailed(BaseModel):
    """The trainer reported why it can't continue."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["failed"] = "failed"
    message: str


ProcessUpdate = TrainingUpdate | TrainingFailed
_updates: TypeAdapter[ProcessUpdate] = TypeAdapter(Annotated[ProcessUpdate, Field(discriminator="kind")])


def parse_update(line: bytes) -> ProcessUpdate:
    """Read one line that a training process wrote.

    Raises:
        ValueError: It is not an update.
    """
    return _updates.validate_json(line)


def main() -> int:
    """Run one training; the exit status says whether it succeeded."""
    os.nice(_NICENESS)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    updates = os.fdopen(take_standard_output(), "wb")
    task = TrainingTask.model_validate_json(sys.stdin.buffer.readline())
    when_parent_exits(lambda: _exit_with_server(stopping))
    try:
        _train(task, updates, stopping)
    except BrokenPipeError:
        return EXIT_SERVER_GONE
    except TrainerError as error:
        traceback.print_exc()
        _write(updates, TrainingFailed(message=str(error)))
        return EXIT_FAILED
    if stopping.is_set():
        # The exit status names the signal that ended this process.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    return 0


def _train(task: TrainingTask, updates: IO[bytes], stopping: threading.Event) -> None:
    for update in default_trainer().train(task):
        if isinstance(update, StepMetrics):
            _require_finite(update)
        _write(updates, update)
        if stopping.is_set():
            return


def _require_finite(metrics: StepMetrics) -> None:
    values = metrics.model_dump(exclude={"kind"}, exclude_none=True)
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainerError(
                f"Training diverged: {name} is {value} at step {metrics.step} of {metrics.total_steps}.",
                hint="Try a smaller learning_rate_multiplier.",
            )


def _write(updates: IO[bytes], update: ProcessUpdate) -> None:
    updates.write(update.model_dump_json().encode() + b"\n")
    updates.flush()


def _exit_with_server(stopping: threading.Event) -> None:
    stopping.set()
    time.sleep(_GRACE_SECONDS)
    os._exit(EXIT_SERVER_GONE)


if __name__ == "__main__":
    sys.exit(main())
