"""The events of a job: their texts, how they are written and shown, and the result file that is made of its metrics."""

import time
from collections.abc import Iterator
from typing import Literal, TypedDict

from sqlalchemy import select
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.storage.column_types import storable
from retune.server.storage.tables import EventRow, JobRow
from retune.trainers.base import StepMetrics
from retune.training_lines.keys import JsonObject

Level = Literal["info", "warn", "error"]
RESULT_FILENAME = "step_metrics.csv"
_COLUMNS = {
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}


def add_event(session: Session, job_id: str, message: str, *, level: Level = "info") -> None:
    """Add a message to a job's events."""
    session.add(_event(job_id, message, level=level))


def add_metrics_event(session: Session, job_id: str, metrics: StepMetrics) -> None:
    """Add a step's metrics to a job's events: losses are rounded in the text, and exact in the data."""
    text = f"Step {metrics.step}/{metrics.total_steps}: training loss={metrics.train_loss:.2f}"
    if metrics.valid_loss is not None:
        text += f", validation loss={metrics.valid_loss:.2f}"
    if metrics.full_valid_loss is not None:
        text += f", full validation loss={metrics.full_valid_loss:.2f}"
    row = _event(job_id, text)
    row.type = "metrics"
    row.step = metrics.step
    row.data = metrics.model_dump(exclude={"kind"}, exclude_none=True)
    session.add(row)


def validating_message(job: JobRow) -> str:
    """The event of a job whose files are about to be read."""
    text = f"Validating training file: {job.training_file}"
    return f"{text} and validation file: {job.validation_file}" if job.validation_file else text


def cut_message(n_examples: int, context_tokens: int) -> str:
    """The event about examples that are longer than a model's context."""
    return (
        f"{n_examples} example(s) of the training file are longer than the model's context of {context_tokens} tokens; "
        "they are cut at their end."
    )


class EventObject(TypedDict):
    """The event object."""

    object: Literal["fine_tuning.job.event"]
    id: str
    created_at: int
    level: str
    message: str
    data: JsonObject
    type: str


def event_object(row: EventRow) -> EventObject:
    """The event object."""
    return {
        "object": "fine_tuning.job.event",
        "id": row.id,
        "created_at": row.created_at,
        "level": row.level,
        "message": row.message,
        "data": row.data,
        "type": row.type,
    }


def _event(job_id: str, message: str, *, level: Level = "info") -> EventRow:
    return EventRow(
        id=ids.new_id("ftevent-"),
        job_id=job_id,
        created_at=int(time.time()),
        level=level,
        type="message",
        message=storable(message),
        data={},
    )


def step_metrics_lines(session: Session, job_id: str) -> Iterator[bytes]:
    """The lines of a job's CSV, made of its metrics events: five decimals, empty where nothing was measured."""
    yield f"step,{','.join(_COLUMNS)}\n".encode()
    metrics = select(EventRow.step, EventRow.data).where(EventRow.job_id == job_id, EventRow.step.is_not(None))
    for step, data in session.execute(metrics.order_by(EventRow.step).execution_options(yield_per=1000)):
        cells = (_cell(data.get(key)) for key in _COLUMNS.values())
        yield f"{step},{','.join(cells)}\n".encode()


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    text = f"{value:.5f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text
