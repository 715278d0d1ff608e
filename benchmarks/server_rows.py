"""Fills a server's database, through its own tables, with a long history: jobs, events, checkpoints, files.

One line of JSON on standard output names what the measurements ask for.

    .venv/bin/python benchmarks/server_rows.py DATA_DIRECTORY JOBS EVENTS
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.storage.data_directory import DataDirectory
from retune.server.storage.database import Database
from retune.server.storage.engines import sqlite_url
from retune.server.storage.tables import CheckpointRow, EventRow, FileRow, JobMetadataRow, JobRow, Table

_CREATED_AT = 1_790_000_000
_FLUSHED_ROWS = 20_000
_HYPERPARAMETERS = {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.0}


class _Rows:
    """Rows on their way into the tables, many at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: dict[type[Table], list[dict[str, Any]]] = defaultdict(list)
        self._count = 0

    def add(self, table: type[Table], **values: Any) -> None:
        self._waiting[table].append(values)
        self._count += 1

    def flush(self, *, at_least: int = 0) -> None:
        if self._count < at_least:
            return
        # Jobs come before what refers to them, as they were added.
        for table, rows in self._waiting.items():
            self._session.execute(insert(table), rows)
        self._waiting.clear()
        self._count = 0


def fill(database: Database, n_jobs: int, n_events: int) -> dict[str, str]:
    """Add everything; the oldest job has a tenth of all events, the others have the rest in equal parts."""
    job_ids = [ids.new_id("ftjob-") for _ in range(n_jobs)]
    longest = n_events // 10
    each = (n_events - longest) // max(n_jobs - 1, 1)
    events_of_longest = []
    with database.write() as session:
        rows = _Rows(session)
        for position, job_id in enumerate(job_ids, start=1):
            _add_job(rows, position, job_id)
            for number in range(longest if position == 1 else each):
                event_id = _add_event(rows, job_id, number + 1)
                if position == 1:
                    events_of_longest.append(event_id)
            rows.flush(at_least=_FLUSHED_ROWS)
        rows.flush()
    return {
        "job": job_ids[n_jobs // 2],
        "longest_job": job_ids[0],
        "deep_event": events_of_longest[longest // 10],
        "deep_job": job_ids[n_jobs // 10],
    }


def _add_job(rows: _Rows, position: int, job_id: str) -> None:
    file_id = ids.new_id("file-")
    purpose = "batch" if position % 1000 == 0 else "fine-tune"
    rows.add(FileRow, id=file_id, bytes=1000, created_at=_CREATED_AT, filename="train.jsonl", purpose=purpose)
    # One project has most jobs, one a few long ago; some jobs have no metadata, all of them old.
    metadata = {"project": "rare" if position % 1000 == 1 else "usual", "n": str(position)} if position > 10 else None
    model_name = f"ft:baseline-text:retune::{job_id[-8:]}"
    rows.add(
        JobRow,
        position=position,
        id=job_id,
        created_at=_CREATED_AT,
        finished_at=_CREATED_AT,
        status="succeeded" if position % 10 else "failed",
        model="baseline-text",
        base_model="baseline-text",
        model_name=f"{model_name}{position}",
        seed=7,
        training_file=file_id,
        requested_hyperparameters=_HYPERPARAMETERS,
        hyperparameters=_HYPERPARAMETERS,
        integrations=[],
        job_metadata=metadata,
    )
    for key, value in (metadata or {}).items():
        rows.add(JobMetadataRow, job_position=position, key=key, value=value)
    for step in (30, 60, 90):
        _add_checkpoint(rows, job_id, step, model_name)


def _add_checkpoint(rows: _Rows, job_id: str, step: int, model_name: str) -> None:
    rows.add(
        CheckpointRow,
        id=ids.new_id("ftckpt_"),
        job_id=job_id,
        created_at=_CREATED_AT,
        step_number=step,
        model_name=f"{model_name}:ckpt-step-{step}",
        metrics={"step": step, "train_loss": 0.1},
        directory=f"jobs/{job_id}/epoch-{step}",
    )


def _add_event(rows: _Rows, job_id: str, step: int) -> str:
    event_id = ids.new_id("ftevent-")
    rows.add(
        EventRow,
        id=event_id,
        job_id=job_id,
        created_at=_CREATED_AT,
        level="info",
        type="metrics",
        message=f"Step {step}: training loss=0.12",
        data={"step": step, "train_loss": 0.123456, "train_mean_token_accuracy": 0.9},
        step=step,
    )
    return event_id


if __name__ == "__main__":
    directory = DataDirectory(Path(sys.argv[1]))
    directory.create()
    store = Database(sqlite_url(directory.database))
    try:
        print(json.dumps(fill(store, int(sys.argv[2]), int(sys.argv[3]))))
    finally:
        store.close()
