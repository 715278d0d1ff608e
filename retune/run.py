"""A run: its key, its directory, and the manifest that says it is complete.

The directory holds everything that a run made or got:

    run.json            the run key and the configuration; written first
    examples/           the source, as examples, and what was found out about each
    check_report.json   the problems that the checks found, up to 1,000 of each kind
    splits.npy          which split each example is in
    train.jsonl validation.jsonl test.jsonl
    job_attempts.json   what was asked for at the provider, written before each request for a job
    job.json            the job, as the provider last showed it
    events.jsonl        its events, oldest first
    results/            the provider's result files, byte for byte
    metrics.csv         the same as one table
    answers/            every answer of both models
    report.html         for people
    manifest.json       every figure; written last, so its existence means that the run is complete
"""

import fcntl
import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from retune.config import RetrainConfig
from retune.errors import RunBusyError, RunDirectoryError
from retune.files import write_json
from retune.private_files import home_directory, private_opener

JOURNAL_FILE = "job_attempts.json"
JOB_FILE = "job.json"
_NOT_PART_OF_THE_MODEL = {
    "poll_interval_seconds",
    "max_poll_interval_seconds",
    "max_cost_usd",
    "approve_above_usd",
    "max_wait_hours",
    "unclear_answer_wait_minutes",
    "trust_incomplete_job_list",
    "job_id",
    "ignore_dates",
}


def compute_run_key(config: RetrainConfig, *, data_sha256: str, provider_identity: str) -> str:
    """Hash everything that changes the model: the data, the split, the training settings, and who trains.

    Two runs with the same key mean the same job; another `attempt` means another one.

    Args:
        config: The run's configuration; how models are judged and where files go does not count.
        data_sha256: Hash of the examples, in their order; see `ExampleStore.sha256_of`.
        provider_identity: See `retune.provider.endpoint.Endpoint`.

    Returns:
        32 hexadecimal digits.
    """
    material = {
        "data": data_sha256,
        "split": config.split.model_dump(mode="json"),
        "training": config.training.model_dump(mode="json", exclude=_NOT_PART_OF_THE_MODEL),
        "provider": provider_identity,
        "attempt": config.attempt,
    }
    return hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()[:32]


class Run(BaseModel):
    """A run's key and directory: small enough to travel between tasks.

    Attributes:
        key: See `compute_run_key`.
        directory: Absolute path of the run's directory.
        directory_id: Drawn when the directory was made. Whoever caches by a `Run` forgets when the directory is gone.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    key: str
    directory: Path
    directory_id: str

    def path(self, *parts: str) -> Path:
        """A file of this run."""
        return self.directory.joinpath(*parts)

    @property
    def manifest_path(self) -> Path:
        """Where the manifest is, once the run is complete."""
        return self.path("manifest.json")


def open_run(config: RetrainConfig, *, data_sha256: str, provider_identity: str) -> Run:
    """Make or re-open the run's directory.

    Raises:
        RunDirectoryError: It can't be written, or belongs to another run.
    """
    key = compute_run_key(config, data_sha256=data_sha256, provider_identity=provider_identity)
    directory = (config.output_dir or _runs_directory() / _directory_name(config, key)).absolute()
    try:
        directory_id = _directory_id(directory, key)
        run = Run(key=key, directory=directory, directory_id=directory_id or uuid.uuid4().hex)
        write_json(run.path("run.json"), {**run.model_dump(mode="json"), "config": config.model_dump(mode="json")})
    except OSError as error:
        raise RunDirectoryError(
            f"Can't write the run's directory {directory}: {error.strerror}.",
            hint="Name a directory that you may write with --output-dir.",
        ) from None
    return run


def directory_before_run(config: RetrainConfig) -> Path:
    """Where work can be done for a run before its key is known: on the file system of its directory."""
    return (config.output_dir or _runs_directory()).absolute()


def _runs_directory() -> Path:
    return home_directory() / "runs"


def _directory_name(config: RetrainConfig, key: str) -> str:
    label = re.sub(r"[^\w-]+", "-", config.name, flags=re.ASCII).strip("-")
    return f"{label[:40] or 'run'}-{key[:12]}"


def _directory_id(directory: Path, key: str) -> str | None:
    """Id of a directory that this run made earlier; None for one that is still to be made or empty."""
    try:
        settings = json.loads((directory / "run.json").read_bytes())
        owner, directory_id = str(settings["key"]), str(settings["directory_id"])
    except FileNotFoundError:
        if _holds_files(directory):
            raise RunDirectoryError(
                f"{directory} is not empty and holds no run of Retune's.",
                hint="Name another --output-dir; nothing was changed.",
            ) from None
        return None
    except (ValueError, KeyError, TypeError):
        raise RunDirectoryError(
            f"{directory}/run.json is not one that Retune wrote.", hint="Name another --output-dir."
        ) from None
    if owner != key:
        raise RunDirectoryError(
            f"{directory} holds another run (key {owner}; this one has {key}): "
            "its data, split or training settings differ.",
            hint="Name another --output-dir, or leave it out and each run gets its own.",
        )
    return directory_id


def _holds_files(directory: Path) -> bool:
    if not directory.is_dir():
        return False
    # What was paid for outlives everything else.
    return any(entry.name not in {JOURNAL_FILE, JOB_FILE} for entry in directory.glob("[!.]*"))


@contextmanager
def exclusive(run: Run) -> Iterator[None]:
    """Hold the run's directory for one process; the lock ends with the process, however it ends.

    Raises:
        RunBusyError: Another process is working on the same run.
        RunDirectoryError: Somebody removed files of it.
    """
    with open(run.path(".lock"), "a", opener=private_opener) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunBusyError(
                f"Another process is working on this run ({run.directory}).",
                hint="Wait for it; running again afterwards goes on from what it did.",
            ) from None
        try:
            yield
        except FileNotFoundError as error:
            if not Path(error.filename or "").is_relative_to(run.directory):
                raise
            raise RunDirectoryError(
                f"{error.filename} is missing, though an earlier run wrote it.",
                hint=f"Delete what is in {run.directory}, except {JOURNAL_FILE} and {JOB_FILE}, and run again: they "
                "say which job is paid for already.",
            ) from None
