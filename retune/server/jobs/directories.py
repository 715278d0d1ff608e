"""The directories of jobs, with their checkpoints: what stays in them, and what goes.

What must stay is decided by the database alone; whatever a killed server left beside it goes when the next one starts.
"""

import logging
import shutil
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from retune.server.jobs.checkpoints import checkpoints_of
from retune.server.jobs.statuses import UNFINISHED
from retune.server.storage.data_directory import DataDirectory
from retune.server.storage.database import Database
from retune.server.storage.tables import JobRow, ModelRow
from retune.server.training.run import JOURNAL_NAME, LOG_NAME

_log = logging.getLogger(__name__)


def remove_all_but(directory: Path, names: Collection[str] = ()) -> None:
    """Remove checkpoints and leftovers of a job; what its process printed stays, for the operator."""
    if not directory.is_dir():
        return
    for entry in directory.iterdir():
        if entry.name in names or entry.name == LOG_NAME:
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def has_history(directory: Path) -> bool:
    """Tell whether an earlier training process left anything in a job's directory."""
    return any(entry.name != LOG_NAME for entry in directory.iterdir())


def prepare_for_training(session: Session, job: JobRow, directory: Path) -> bool:
    """Leave the checkpoints on record in a job's directory, and nothing else; tell whether to resume from them."""
    recorded = [Path(row.directory).name for row in checkpoints_of(session, job.id)]
    newest = max((path.name for path in directory.glob("epoch-*")), default=None)
    if recorded and newest == recorded[0]:
        remove_all_but(directory, [JOURNAL_NAME, *recorded])
        return True
    # A checkpoint that nobody told of, or one that is gone: only the first step is sure ground.
    remove_all_but(directory)
    return False


def clean_up(database: Database, data_directory: DataDirectory, job_id: str | None = None) -> None:
    """Remove what jobs that have ended need no more: all but the checkpoints that are models.

    Args:
        database: Where it stands which those are.
        data_directory: Where the jobs' directories are.
        job_id: The one job to clean up after; None for all of them.
    """
    ended = select(JobRow.id).where(JobRow.status.not_in(UNFINISHED))
    models = select(ModelRow.directory)
    if job_id is not None:
        ended = ended.where(JobRow.id == job_id)
        parent = data_directory.relative(data_directory.jobs / job_id)
        models = models.where(ModelRow.directory.startswith(f"{parent}/", autoescape=True))
    with database.read() as session:
        directories = [data_directory.jobs / name for name in session.scalars(ended)]
        kept: defaultdict[Path, list[str]] = defaultdict(list)
        for path in (data_directory.path / name for name in session.scalars(models)):
            kept[path.parent].append(path.name)
    for directory in directories:
        try:
            remove_all_but(directory, kept[directory])
        except OSError as error:
            # A request and the job's own thread may be at it together. What stays now goes at the next start.
            _log.info("Not all of %s could be removed yet: %s", directory, error)
