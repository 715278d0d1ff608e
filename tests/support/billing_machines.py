"""Machines that run the pipeline's steps about a job against a provider that bills, in no time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import openai
from billing_account import Account, Habits
from billing_provider import Provider
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.fine_tuning import FineTuningJob

from retune.config import TrainingConfig
from retune.errors import RetuneError, UnclearJobError
from retune.provider.files import upload_once
from retune.provider.follow import PollingPauses, follow_job, raise_unless_succeeded
from retune.provider.job_journal import JobJournal
from retune.provider.one_job import JobCreator, job_request
from retune.provider.own_jobs import recorded_job
from retune.provider.twins import TwinWatch

TRAINING = TrainingConfig.model_validate({"hyperparameters": {"n_epochs": 2, "batch_size": 8}})
RUN_KEY = "1f" * 16
WAIT_SECONDS = 600.0
PAUSES = PollingPauses(first_seconds=40, longest_seconds=60)


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
        client = self.client
        journal = JobJournal(self.directory, RUN_KEY)
        name = f"{RUN_KEY}-train.jsonl"
        recorded = await recorded_job(client, journal, None, clock=self.clock)
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
            client, started.job_id, PAUSES, twins=twins, clock=self.clock, max_wait_seconds=7_200
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

    @contextmanager
    def killing(self) -> Iterator[None]:
        """End the process before a request for a job is sent, or when its answer has come and is not written yet."""

        def kill(point: str, request: httpx2.Request) -> None:
            is_creation = request.method == "POST" and request.url.path.endswith("/fine_tuning/jobs")
            if is_creation and self.kills and self.kills[0] == point:
                self.kills.pop(0)
                raise Killed(point)

        async def before(request: httpx2.Request) -> None:
            kill("before", request)

        async def after(response: httpx2.Response) -> None:
            kill("after", response.request)

        hooks = self.client._client.event_hooks
        hooks["request"], hooks["response"] = [before], [after]
        try:
            yield
        finally:
            hooks["request"], hooks["response"] = [], []

    async def run_until_done(self) -> FineTuningJob:
        """Again and again, as Prefect's retries, a restarted worker and a user who reads hints do."""
        for _ in range(100):
            try:
                return await self.run()
            except UnclearJobError as error:
                self.follow_hint(str(error.hint))
            except (openai.OpenAIError, RetuneError, Killed) as error:
                self.said.append(repr(error))
            await self.clock.sleep(20)
        raise AssertionError(f"never done: {self.said}")


class Scene:
    """A provider with these habits, and machines that use it."""

    def __init__(self, provider: Provider, habits: Habits, place: Path, seed: int = 0) -> None:
        self.clock = VirtualClock()
        self.base_url, self.account = provider.open_account(habits, now=self.clock.now, job_seconds=120, seed=seed)
        self.place = place
        self.http = DefaultAsyncHttpxClient(verify=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    def machine(self, name: str = "here", **settings: Any) -> Machine:
        directory = self.place / name / "run"
        directory.mkdir(parents=True, exist_ok=True)
        client = AsyncOpenAI(base_url=self.base_url, api_key="sk-test", max_retries=0, timeout=5, http_client=self.http)
        path = self.place / "train.jsonl"
        path.write_text('{"messages": []}\n' * 12)
        return Machine(client, self.account, self.clock, directory, path, **settings)
