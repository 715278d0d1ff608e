"""What a run has asked its provider for, written down before each request that costs money.

The journal is `job_attempts.json` in the run's directory. An attempt is written before the request is sent, and
completed with its answer, so that a process that ends in between leaves the knowledge that a job may exist.
"""

import json
from pathlib import Path
from typing import Any, Literal

from openai.types.fine_tuning import FineTuningJob
from pydantic import BaseModel, ConfigDict, ValidationError

from retune.errors import RunDirectoryError
from retune.files import sync_directory, write_json, writing
from retune.run import JOB_FILE, JOURNAL_FILE
from retune.training_lines.keys import JsonObject

RUN_KEY = "run_key"

Outcome = Literal["unclear", "created", "found", "refused"]


def run_key_of(job: FineTuningJob) -> str | None:
    """The run key that a job bears; None where its host keeps no metadata, or none that can be read."""
    return job.metadata.get(RUN_KEY) if isinstance(job.metadata, dict) else None


class JobAttempt(BaseModel):
    """One request for a job.

    Attributes:
        asked_at: Unix time in seconds.
        request: The body of the request.
        outcome: `unclear` until the answer is known: the provider may have made a job. `found`: the job was seen at the
            provider afterwards, or made by another process. `refused`: the provider made none.
        is_ours: It is proven that this run created the job, so that it may be cancelled.
        is_reported: A user was asked to look whether this unclear attempt has made a job.
    """

    model_config = ConfigDict(frozen=True)

    asked_at: float
    idempotency_key: str
    request: JsonObject
    outcome: Outcome = "unclear"
    job_id: str | None = None
    is_ours: bool = False
    is_reported: bool = False


class JobJournal:
    """The attempts of one run, oldest first.

    Args:
        directory: The run's directory.
        run_key: The run that the directory belongs to.

    Raises:
        RunDirectoryError: The journal can't be read, so that nobody can say what was paid for.
    """

    def __init__(self, directory: Path, run_key: str) -> None:
        self.directory = directory
        self.run_key = run_key
        self.attempts = self._read()

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self.directory / JOURNAL_FILE

    @property
    def unclear(self) -> list[JobAttempt]:
        """Attempts that may have made a job whose id is not known."""
        return [attempt for attempt in self.attempts if attempt.outcome == "unclear"]

    @property
    def recorded(self) -> list[JobAttempt]:
        """Attempts whose job is known, newest first."""
        return [attempt for attempt in reversed(self.attempts) if attempt.job_id]

    @property
    def requests(self) -> list[JsonObject]:
        """The bodies of all requests, oldest first."""
        return [attempt.request for attempt in self.attempts]

    @property
    def request(self) -> JsonObject | None:
        """The body of the newest request; None where none was written down."""
        return (self.attempts[-1].request or None) if self.attempts else None

    def is_ours(self, job_id: str) -> bool:
        """Whether it is proven that this run created a job."""
        return any(attempt.is_ours for attempt in self.attempts if attempt.job_id == job_id)

    def begin(self, request: JsonObject, *, idempotency_key: str, now: float) -> JobAttempt:
        """Write down that a job is about to be asked for.

        Raises:
            RunDirectoryError: It can't be written; then nothing may be asked for.
        """
        attempt = JobAttempt(asked_at=now, idempotency_key=idempotency_key, request=request)
        # What was refused made no job, and has told all it can.
        self.attempts = [known for known in self.attempts if known.outcome != "refused"]
        self._write([*self.attempts, attempt])
        return attempt

    def complete(
        self, attempt: JobAttempt, outcome: Outcome, job_id: str | None = None, *, is_ours: bool = True
    ) -> None:
        """Write down what became of an attempt."""
        self._replace(attempt, outcome=outcome, job_id=job_id, is_ours=bool(job_id) and is_ours)

    def add_found(self, job_id: str, request: JsonObject, *, is_ours: bool, now: float) -> None:
        """Write down a job that was found at the provider; where an attempt was unclear, it is that one's."""
        if known := next((attempt for attempt in self.attempts if attempt.job_id == job_id), None):
            if not known.request:
                self._replace(known, request=request)
            return
        if self.unclear:
            self.complete(self.unclear[0], "found", job_id, is_ours=is_ours)
            return
        found = JobAttempt(asked_at=now, idempotency_key="", request=request, outcome="found", job_id=job_id)
        self._write([*self.attempts, found.model_copy(update={"is_ours": is_ours})])

    def report_unclear(self) -> None:
        """Write down that a user is asked about all unclear attempts."""
        self._write(
            [attempt.model_copy(update={"is_reported": attempt.outcome == "unclear"}) for attempt in self.attempts]
        )

    def last_seen(self, job_id: str) -> FineTuningJob | None:
        """The job as `job.json` last kept it; None where that file is of another job."""
        try:
            job = FineTuningJob.construct(**json.loads((self.directory / JOB_FILE).read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return job if job.id == job_id else None

    def is_recorded_elsewhere(self, job_id: str) -> bool:
        """Whether another run beside this one has written down the job."""
        others = (path for path in self.directory.parent.glob(f"*/{JOURNAL_FILE}") if path != self.path)
        return any(self._is_of_another_run(path, job_id) for path in others)

    def _is_of_another_run(self, path: Path, job_id: str) -> bool:
        try:
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        except OSError:
            # Another user's, where users share a directory; or it was deleted just now.
            return False
        # A copy of this run's directory is of the same run, and its job is this run's.
        return f'"{job_id}"' in text and f'"{self.run_key}"' not in text

    def _read(self) -> list[JobAttempt]:
        try:
            written = json.loads(self.path.read_bytes())
            attempts = [JobAttempt.model_validate(attempt) for attempt in written["attempts"]]
            owner = written[RUN_KEY]
        except FileNotFoundError:
            return self._read_job_file()
        except OSError as error:
            raise RunDirectoryError(
                f"{self.path} can't be read ({error.strerror}), so nobody can say which jobs this run has paid for.",
                hint="Give yourself the right to read and write it, then run the same command again.",
            ) from None
        except (ValueError, KeyError, TypeError, ValidationError):
            raise RunDirectoryError(
                f"{self.path} is not one that Retune wrote, so nobody can say which jobs this run has paid for.",
                hint="Restore the file; or look with `retune jobs list` for a job of this run, then delete the file.",
            ) from None
        if owner != self.run_key:
            raise RunDirectoryError(
                f"{self.path} belongs to the run {owner}, not to {self.run_key}.", hint="Name another --output-dir."
            )
        return attempts

    def _read_job_file(self) -> list[JobAttempt]:
        """A job that a version without a journal has followed."""
        try:
            job = json.loads((self.directory / JOB_FILE).read_bytes())
            job_id = str(job["id"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return []
        is_ours = run_key_of(FineTuningJob.construct(**job)) == self.run_key
        # When it was asked for is not known, but long ago.
        found = JobAttempt(asked_at=0, idempotency_key="", request={}, outcome="found", job_id=job_id)
        return [found.model_copy(update={"is_ours": is_ours})]

    def _replace(self, attempt: JobAttempt, **changes: Any) -> None:
        changed = attempt.model_copy(update=changes)
        self._write([changed if each == attempt else each for each in self.attempts])

    def _write(self, attempts: list[JobAttempt]) -> None:
        value = {RUN_KEY: self.run_key, "attempts": [attempt.model_dump(mode="json") for attempt in attempts]}
        with writing(self.path):
            write_json(self.path, value)
            sync_directory(self.directory)
        self.attempts = attempts
