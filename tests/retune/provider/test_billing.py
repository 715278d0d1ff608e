"""Whatever habits a provider has, alone and in pairs: one paid job, and its model.

`RETUNE_BILLING_SEEDS=5000` tries more pairs.
"""

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from billing_account import Account, Habits
from billing_provider import Provider, billing_provider
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.fine_tuning import FineTuningJob

from retune.config import TrainingConfig
from retune.errors import RetuneError, UnclearJobError
from retune.provider.files import upload_once
from retune.provider.follow import PollingPauses, follow_job, raise_unless_succeeded
from retune.provider.job_journal import JobJournal
from retune.provider.one_job import JobCreator, TwinWatch, job_request
from retune.provider.own_jobs import recorded_job

TRAINING = TrainingConfig.model_validate({"hyperparameters": {"n_epochs": 2, "batch_size": 8}})
RUN_KEY = "1f" * 16
WAIT_SECONDS = 600.0
PAUSES = PollingPauses(first_seconds=10, longest_seconds=60)
SEEDS = int(os.environ.get("RETUNE_BILLING_SEEDS", "160"))
DIALECTS = (
    {"validating_files": "pending", "succeeded": "completed", "cancelled": "canceled"},
    {"validating_files": "QUEUED", "running": "RUNNING", "succeeded": "SUCCESS", "cancelled": "CANCELLED"},
    {"validating_files": "JOB_STATE_CREATING", "running": "JOB_STATE_RUNNING", "succeeded": "JOB_STATE_COMPLETED"},
    {"running": "reticulating_splines"},
)
HABITS = {
    "good": Habits(),
    "500 after making it": Habits(lost_answers=1),
    "502 twice": Habits(lost_answers=1, lost_as="502", refused_jobs=1, refused_as="503"),
    "drops the answer": Habits(lost_answers=1, lost_as="drop"),
    "a page instead of an answer": Habits(lost_answers=1, lost_as="html"),
    "the list lags": Habits(list_lag_seconds=25),
    "the list lags for minutes": Habits(list_lag_seconds=400),
    "ids lag": Habits(retrieve_lag_seconds=15),
    "pages overlap": Habits(page_overlap=1),
    "the list shifts": Habits(shifts=True),
    "has_more is missing": Habits(has_more="missing"),
    "has_more is always true": Habits(has_more="true"),
    "has_more is always false": Habits(has_more="false"),
    "the cursor is ignored": Habits(ignores_cursor=True),
    "no metadata": Habits(keeps_metadata=False),
    "no filter": Habits(filters=False),
    "files are forgotten": Habits(forgets_files=True),
    "strangers on the same file": Habits(strangers=2),
    "150 newer jobs": Habits(newer_jobs=150),
    **{f"dialect {number}": Habits(dialect=dialect) for number, dialect in enumerate(DIALECTS)},
    "429": Habits(limits="plain"),
    "429 with Retry-After": Habits(limits="retry-after"),
    "no credit at first": Habits(refused_jobs=1, refused_as="quota"),
    "503 without making it": Habits(refused_jobs=1, refused_as="503"),
    "items come twice": Habits(repeats_items=True),
    "oldest first": Habits(oldest_first=True),
    "no list (404)": Habits(no_list=404),
    "no list (501)": Habits(no_list=501),
    "no events": Habits(has_events=False),
}


class Killed(BaseException):
    """The process ends here."""


@dataclass
class VirtualClock:
    """Waiting takes no time."""

    ahead: float = 0.0

    def now(self) -> float:
        return time.time() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.ahead += seconds


@dataclass
class Machine:
    """Runs the pipeline's steps about a job, and is killed where `kills` says."""

    client: AsyncOpenAI
    account: Account
    clock: VirtualClock
    directory: Path
    training_file: Path
    training: TrainingConfig = TRAINING
    kills: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    wait_seconds: float = WAIT_SECONDS
    by_hand: dict[str, Any] = field(default_factory=dict)

    async def run(self) -> FineTuningJob:
        """Once: upload, create, follow."""
        client = self.client.with_options(http_client=self.client._client)
        journal = JobJournal(self.directory, RUN_KEY)
        name = f"{RUN_KEY}-train.jsonl"
        recorded = await recorded_job(client, journal, None)
        uploaded = None if recorded else await upload_once(client, self.training_file, filename=name)
        file_id = recorded.training_file if recorded else uploaded.file_id if uploaded else ""
        request = job_request(self.training, run_key=RUN_KEY, training_file=file_id, validation_file=None)
        with self.killing():
            started = await JobCreator(
                client, request, journal, self.wait_seconds, say=self.said.append, clock=self.clock, **self.by_hand
            ).create_once()
        twins = TwinWatch(client, journal, self.wait_seconds, say=self.said.append, clock=self.clock)
        job = None
        async for update in follow_job(
            client, started.job_id, PAUSES, twins=twins, clock=self.clock, max_wait_seconds=36_000
        ):
            job = update.job
        assert job
        raise_unless_succeeded(job)
        return job

    def follow_hint(self, hint: str) -> None:
        """What a user does who looks at the provider's own pages."""
        if "training.job_id" in hint and self.account.paid:
            self.by_hand = {"job_id": self.account.paid[0]}
        elif "trust_incomplete_job_list" in hint:
            self.by_hand = {"trusts_incomplete_list": True}

    def killing(self) -> Any:
        return _killing(self.client, self.kills)

    async def run_until_done(self) -> FineTuningJob:
        """Again and again, as Prefect's retries, a restarted worker and a user who reads hints do."""
        for _ in range(15):
            try:
                return await self.run()
            except UnclearJobError as error:
                self.follow_hint(str(error.hint))
            except (openai.OpenAIError, RetuneError, Killed) as error:
                self.said.append(repr(error))
            await self.clock.sleep(20)
        raise AssertionError(f"never done: {self.said}")


class _killing:  # noqa: N801 - used as a function
    """Ends the process before a request for a job is sent, or when its answer has come and before it is written."""

    def __init__(self, client: AsyncOpenAI, kills: list[str]) -> None:
        self.hooks = client._client.event_hooks
        self.kills = kills

    def __enter__(self) -> None:
        async def before(request: httpx2.Request) -> None:
            self.kill("before", request)

        async def after(response: httpx2.Response) -> None:
            self.kill("after", response.request)

        self.hooks["request"].append(before)
        self.hooks["response"].append(after)

    def __exit__(self, *_error: object) -> None:
        self.hooks["request"].clear()
        self.hooks["response"].clear()

    def kill(self, point: str, request: httpx2.Request) -> None:
        is_creation = request.method == "POST" and request.url.path.endswith("/fine_tuning/jobs")
        if is_creation and self.kills and self.kills[0] == point:
            self.kills.pop(0)
            raise Killed(point)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with billing_provider(slow_answer_seconds=0.5) as provider:
        yield provider


@pytest.fixture
def training_file(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text('{"messages": []}\n' * 12)
    return path


class Scene:
    """A provider with these habits, and machines that use it."""

    def __init__(self, provider: Provider, habits: Habits, place: Path, seed: int = 0) -> None:
        self.clock = VirtualClock()
        self.base_url, self.account = provider.open_account(habits, now=self.clock.now, job_seconds=900, seed=seed)
        self.place = place
        self.http = DefaultAsyncHttpxClient(event_hooks={"request": [], "response": []})

    def machine(self, name: str = "here", **settings: Any) -> Machine:
        directory = self.place / name / "run"
        directory.mkdir(parents=True, exist_ok=True)
        client = AsyncOpenAI(base_url=self.base_url, api_key="any", max_retries=0, timeout=5, http_client=self.http)
        path = self.place / "train.jsonl"
        path.write_text('{"messages": []}\n' * 12)
        return Machine(client, self.account, self.clock, directory, path, **settings)


async def one_job(provider: Provider, habits: Habits, place: Path, seed: int) -> None:
    """Run to the end, run again, and run on another machine: one paid job."""
    chance = random.Random(seed)
    kills = chance.choice([[], [], [], ["before"], ["after"], ["before", "after"]])
    scene = Scene(provider, Habits(**habits.__dict__), place, seed)
    account = scene.account
    try:
        machine = scene.machine(kills=kills)
        job = await machine.run_until_done()
        assert account.paid == account.paid_for == [job.id], machine.said
        assert job.fine_tuned_model
        assert not account.strangers_cancelled
        again = await scene.machine().run_until_done()
        assert (again.id, account.paid) == (job.id, [job.id])
        if habits.no_list or (habits.forgets_files and not habits.keeps_metadata):
            return  # Only the run's directory knows.
        elsewhere = scene.machine("elsewhere")
        found = await elsewhere.run_until_done()
        assert (found.id, account.paid) == (job.id, [job.id]), elsewhere.said
        assert not account.strangers_cancelled
    finally:
        await scene.http.aclose()


@pytest.mark.parametrize("name", HABITS)
async def test_one_habit(provider: Provider, tmp_path: Path, name: str) -> None:
    for seed in range(3):
        await one_job(provider, HABITS[name], tmp_path / str(seed), seed)


async def test_pairs_of_habits(provider: Provider, tmp_path: Path) -> None:
    for seed in range(SEEDS):
        chance = random.Random(seed)
        one, other = chance.sample(sorted(HABITS), 2)
        try:
            await one_job(provider, HABITS[one].with_others(HABITS[other]), tmp_path / str(seed), seed)
        except BaseException as error:
            error.add_note(f"seed {seed}: {one!r} and {other!r}")
            raise
