"""The result file of a job: `step_metrics.csv`, one row a step."""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from retune.server.storage.tables import EventRow

RESULT_FILENAME = "step_metrics.csv"
_COLUMNS = {
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}


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
