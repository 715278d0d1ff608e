"""A customer's account at a provider that bills, and the bad habits of real hosts as switches."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

STEPS = 4


@dataclass
class Habits:
    """What a host does; the defaults are those of a good one.

    Attributes:
        lost_answers: So many jobs are made, and then answered by `lost_as`: a 500, a dropped connection, an answer that
            comes too late, or a page that is not the API's.
        refused_jobs: So many requests for a job are answered with `refused_as` first, and make none.
        list_lag_seconds: A job is listed so long after it was made.
        page_overlap: Each page repeats so many items of the one before.
        shifts: Other people's jobs come and go while the list is read, by offsets.
        shows_old_states: The list shows cancelled jobs as running.
        has_times: Jobs say when they were created.
        has_more: `right`, `missing`, or always `true` or `false`.
        retrieve_lag_seconds: A job is known by its id so long after it was made.
        forgets_files: Uploaded files are deleted once a job has been made of them.
        strangers: Somebody else's running jobs on the same training file, with other settings.
        newer_jobs: So many jobs of others come after each of ours.
        dialect: What a status is called there.
        limits: Every third request is answered 429, with or without Retry-After.
    """

    lost_answers: int = 0
    lost_as: Literal["500", "502", "drop", "slow", "html"] = "500"
    refused_jobs: int = 0
    refused_as: Literal["429", "503", "quota"] = "429"
    list_lag_seconds: float = 0.0
    retrieve_lag_seconds: float = 0.0
    page_overlap: int = 0
    shifts: bool = False
    shows_old_states: bool = False
    has_times: bool = True
    has_more: Literal["right", "missing", "true", "false"] = "right"
    ignores_cursor: bool = False
    keeps_metadata: bool = True
    filters: bool = True
    forgets_files: bool = False
    strangers: int = 0
    newer_jobs: int = 0
    dialect: dict[str, str] = field(default_factory=dict)
    limits: Literal["", "plain", "retry-after"] = ""
    repeats_items: bool = False
    slow_seconds: float = 0.0
    oldest_first: bool = False
    no_list: Literal[0, 404, 501] = 0
    has_events: bool = True

    def with_others(self, other: "Habits") -> "Habits":
        """Both at once: whatever the other does differently from a good host is done, too."""
        good = Habits()
        changed = {
            each.name: getattr(other, each.name)
            for each in fields(self)
            if getattr(other, each.name) != getattr(good, each.name)
        }
        return Habits(**{**self.__dict__, **changed})


@dataclass
class Account:
    """One customer's account.

    Attributes:
        now: Its clock, in Unix seconds.
        job_seconds: How long a job takes.
        paid: Ids of the jobs that this customer's requests have made.
        requests: Every request: method and path.
        refuses: Status and code of the error that every request gets from now on.
        held: While it is clear, answers to requests for a job are held back.
    """

    habits: Habits
    now: Callable[[], float] = time.time
    job_seconds: float = 0.5
    seed: int = 0
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    paid: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    refuses: tuple[int, str] | None = None
    held: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.held.set()

    @property
    def paid_for(self) -> list[str]:
        """Paid jobs that were not cancelled or did not fail."""
        return [job_id for job_id in self.paid if self.state(self.jobs[job_id]) not in {"cancelled", "failed"}]

    @property
    def strangers_cancelled(self) -> list[str]:
        """Jobs of others that somebody has cancelled."""
        return [job_id for job_id, job in self.jobs.items() if job_id not in self.paid and job.get("ended_as")]

    def new_id(self, prefix: str) -> str:
        return f"{prefix}-{self.random.getrandbits(96):024x}"

    def state(self, job: dict[str, Any]) -> str:
        if job.get("ended_as"):
            return str(job["ended_as"])
        age = self.now() - job["made_at"]
        if job["made_by"] == "others":
            return "running"
        return (
            "validating_files" if age < self.job_seconds / 4 else "running" if age < self.job_seconds else "succeeded"
        )

    def make_job(self, body: dict[str, Any], *, made_by: str = "us") -> dict[str, Any]:
        job_id = self.new_id("ftjob")
        job = {"id": job_id, "body": body, "made_at": self.now(), "made_by": made_by}
        self.jobs[job_id] = job
        if made_by == "us":
            self.paid.append(job_id)
            for _ in range(self.habits.newer_jobs):
                self.make_job({**body, "training_file": self.new_id("file"), "metadata": None}, made_by="others")
            if self.habits.forgets_files:
                self.files.clear()
        return job

    def add_stranger(self, training_file: str) -> None:
        settings = self.random.choice(
            [
                {"model": "gpt-4.1-2025-04-14", "n_epochs": 50},
                {"model": "baseline-text", "n_epochs": 50},
                {"model": "baseline-text", "n_epochs": 2, "suffix": "somebody-else"},
                {"model": "baseline-text", "n_epochs": 2, "seed": 7},
            ]
        )
        numbers = {"n_epochs": settings.pop("n_epochs"), "batch_size": 8, "learning_rate_multiplier": "auto"}
        method = {"type": "supervised", "supervised": {"hyperparameters": numbers}}
        body = {"training_file": training_file, "seed": 42, "method": method, **settings}
        self.make_job(body, made_by="others")

    def shown(self, job: dict[str, Any]) -> dict[str, Any]:
        body, state = job["body"], self.state(job)
        numbers = dict(body.get("method", {}).get("supervised", {}).get("hyperparameters", {}))
        if state != "validating_files":
            numbers = {name: 1 if value == "auto" else value for name, value in numbers.items()}
        is_done = state == "succeeded"
        model = f"ft:{body['model']}:org:{body.get('suffix') or ''}:{job['id'][-8:]}"
        return {
            "object": "fine_tuning.job",
            "id": job["id"],
            "model": body["model"],
            "created_at": int(job["made_at"]) if self.habits.has_times else None,
            "finished_at": int(job["made_at"] + self.job_seconds) if is_done else None,
            "fine_tuned_model": model if is_done else None,
            "organization_id": "org",
            "result_files": [f"file-results-{job['id']}"] if is_done else [],
            "status": self.habits.dialect.get(state, state),
            "training_file": body["training_file"],
            "validation_file": body.get("validation_file"),
            "hyperparameters": numbers,
            "trained_tokens": 1000 if is_done else None,
            "error": None,
            "user_provided_suffix": body.get("suffix"),
            "seed": body.get("seed", 1),
            "metadata": body.get("metadata") if self.habits.keeps_metadata else None,
            "method": {"type": "supervised", "supervised": {"hyperparameters": numbers}},
        }

    def events(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Newest first."""
        state = self.state(job)
        messages: list[tuple[str, Any]] = [(f"Created fine-tuning job: {job['id']}", None)]
        if state in {"running", "succeeded"}:
            messages.append(("Fine-tuning job started", None))
        if state == "succeeded":
            for step in range(1, STEPS + 1):
                data = {"step": step, "total_steps": STEPS, "train_loss": 1 / step, "train_mean_token_accuracy": 0.5}
                messages.append((f"Step {step}/{STEPS}: training loss={1 / step:.2f}", data))
            messages.append(("The job has successfully completed", None))
        found = [
            {
                "object": "fine_tuning.job.event",
                "id": f"ftevent-{job['id'][-12:]}-{number}",
                "created_at": int(job["made_at"]) + number,
                "level": "info",
                "message": message,
                "data": data,
                "type": "metrics" if data else "message",
            }
            for number, (message, data) in enumerate(messages)
        ]
        return found if self.habits.oldest_first else found[::-1]

    def listed_jobs(self, wanted_key: str | None) -> list[dict[str, Any]]:
        now = self.now()
        jobs = [
            self.shown(job)
            for job in self.jobs.values()
            if job["made_by"] == "others" or now - job["made_at"] >= self.habits.list_lag_seconds
        ]
        if self.habits.shows_old_states:
            jobs = [{**job, "status": "running"} if job["status"] == "cancelled" else job for job in jobs]
        if wanted_key is not None and self.habits.filters:
            jobs = [job for job in jobs if (job["metadata"] or {}).get("run_key") == wanted_key]
        return jobs if self.habits.oldest_first else jobs[::-1]
