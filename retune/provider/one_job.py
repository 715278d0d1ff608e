"""One paid job per intent, whatever goes wrong between asking for it and hearing of it."""

from dataclasses import dataclass

import openai
from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob
from pydantic import BaseModel, ConfigDict

from retune.config import ProviderConfig, TrainingConfig
from retune.errors import ProviderError, UnclearJobError
from retune.provider.clock import SYSTEM_CLOCK, Clock
from retune.provider.errors import is_transient, may_have_been_done, one_line, provider_call
from retune.provider.job_journal import RUN_KEY, JobJournal, run_key_of
from retune.provider.jobs import require_job, retrieve_job
from retune.provider.own_jobs import FoundJobs, agrees, bears_key, find_own_jobs, recorded_job
from retune.provider.statuses import may_give_model
from retune.provider.twins import Say, settle
from retune.training_lines.keys import JsonObject

_DEFAULT_WAIT_MINUTES = 10.0
_MOST_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _GROWTH = 2.0, 30.0, 1.5


class StartedJob(BaseModel):
    """A job that stands for this run.

    Attributes:
        adopted: An earlier attempt had created it.
        duplicates_cancelled: Ids of other jobs of the same run that were found active, and cancelled.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str
    status: str
    adopted: bool
    duplicates_cancelled: list[str] = []


def job_request(
    training: TrainingConfig, *, run_key: str, training_file: str, validation_file: str | None
) -> JsonObject:
    """The body of the request that creates a run's job."""
    request: JsonObject = {
        "model": training.model,
        "training_file": training_file,
        "method": {
            "type": training.method,
            training.method: {"hyperparameters": training.hyperparameters.model_dump()},
        },
        "metadata": {RUN_KEY: run_key},
    }
    if validation_file:
        request["validation_file"] = validation_file
    if training.suffix:
        request["suffix"] = training.suffix
    if training.seed != "auto":
        request["seed"] = training.seed
    return request


def unclear_wait_seconds(training: TrainingConfig, provider: ProviderConfig) -> float:
    """How long to search for a job after an unclear answer before another one is asked for.

    The server that `retune run` starts lists a job as soon as it has made it, and honours the idempotency key.
    """
    if training.unclear_answer_wait_minutes != "auto":
        return training.unclear_answer_wait_minutes * 60
    return 0.0 if provider.is_embedded else _DEFAULT_WAIT_MINUTES * 60


@dataclass(slots=True)
class JobCreator:
    """Creates the job of a run, or adopts the one that exists.

    Attributes:
        request: See `job_request`.
        journal: Asked before the provider's list is, and written before each request that costs money.
        wait_seconds: See `unclear_wait_seconds`.
        trusts_incomplete_list: Create a job although the provider's list could not be read to its end.
        job_id: A job that the user says is this run's.
        say: Called with one line for people, where waiting or a decision needs a word.
    """

    client: AsyncOpenAI
    request: JsonObject
    journal: JobJournal
    wait_seconds: float
    trusts_incomplete_list: bool = False
    job_id: str | None = None
    say: Say = lambda _line: None
    clock: Clock = SYSTEM_CLOCK

    async def create_once(self) -> StartedJob:
        """Adopt the job that this run wrote down or that the provider shows, or create it.

        A job that failed or was cancelled is not adopted: running again then means trying again. After a creation the
        list is read once more, because somebody else may have created one at the same moment: the oldest stays.

        Raises:
            UnclearJobError: Nobody can say whether there is a job already.
            JobVanishedError: The provider does not know the job that was written down.
            ProviderError: The provider refuses the job.
            openai.OpenAIError: A transient failure; calling again first looks whether the job came into being.
        """
        if self.job_id:
            return await self._adopt_named(self.job_id)
        if job := await recorded_job(self.client, self.journal, self.request, clock=self.clock):
            self._note(job, is_ours=self.journal.is_ours(job.id))
            return StartedJob(job_id=job.id, status=job.status, adopted=True)
        found = await self._search_after_unclear_answer() if self.journal.unclear else await self._search_once()
        for _ in range(_MOST_ATTEMPTS):
            if found.usable:
                return await self._keep_one(found, created=None)
            if created := await self._ask(ended=max(len(found.jobs), len(self.journal.recorded))):
                return await self._after_creation(created)
            found = await self._search_after_unclear_answer()
        if found.usable:
            return await self._keep_one(found, created=None)
        raise UnclearJobError(
            f"{self.client.base_url.host} gave no clear answer to {_MOST_ATTEMPTS} requests for the same job, and "
            "lists none.",
            hint="Run the same command again later: it searches once more before it asks.",
        )

    async def _ask(self, *, ended: int) -> FineTuningJob | None:
        """Ask for the job; None where the answer leaves open whether it was made."""
        attempt = self.journal.begin(self.request, idempotency_key=self._idempotency_key(ended), now=self.clock.now())
        try:
            async with provider_call("creating the fine-tuning job"):
                created = await self.client.fine_tuning.jobs.create(
                    **self.request,
                    # Retune's server honours it; elsewhere it is ignored.
                    extra_headers={"Idempotency-Key": attempt.idempotency_key},
                )
            require_job(created)
        except (openai.OpenAIError, ProviderError) as error:
            cause = error.__context__ if isinstance(error, ProviderError) and error.__context__ else error
            if may_have_been_done(cause):
                self.say(f"It is not clear whether the provider has created the job ({one_line(error)}).")
                return None
            self.journal.complete(attempt, "refused")
            raise
        self.journal.complete(attempt, "created", created.id)
        return created

    def _idempotency_key(self, ended: int) -> str:
        # The same request after an unclear answer has the same key. After a failed job it needs another one.
        for attempt in reversed(self.journal.unclear):
            if attempt.request == self.request:
                return attempt.idempotency_key
        return f"{self.journal.run_key}-{ended}-{self.request['training_file']}"

    async def _after_creation(self, created: FineTuningJob) -> StartedJob:
        try:
            found = await find_own_jobs(self.client, self.journal.run_key, self.journal, self.request)
        except (openai.OpenAIError, ProviderError):
            # The job is there and written down. Twins are looked for while it runs, too.
            found = FoundJobs([])
        found.include(created, is_ours=True)
        if not found.usable:
            # It has failed already; whoever follows it says why.
            return StartedJob(job_id=created.id, status=created.status, adopted=False)
        return await self._keep_one(found, created=created.id)

    async def _keep_one(self, found: FoundJobs, created: str | None) -> StartedJob:
        kept, cancelled = await settle(self.client, found)
        self._note(kept, is_ours=kept.id in found.ours)
        return StartedJob(
            job_id=kept.id, status=kept.status, adopted=kept.id != created, duplicates_cancelled=cancelled
        )

    def _note(self, job: FineTuningJob, *, is_ours: bool) -> None:
        self.journal.add_found(job.id, self.request, is_ours=is_ours, now=self.clock.now())
        if not is_ours and not self.journal.is_ours(job.id):
            self.say(
                f"{job.id} is used: it is what this run asks for, on the same file. The provider keeps no metadata, so "
                "it can't be proven that this run created it; it is not cancelled with this run."
            )

    async def _adopt_named(self, job_id: str) -> StartedJob:
        job = await retrieve_job(self.client, job_id)
        has_key = run_key_of(job) == self.journal.run_key
        if not has_key and not (agrees(job, self.request, with_files=False) and await self._is_on_own_file(job)):
            raise ProviderError(
                f"training.job_id names {job_id}, which is not what this run asks for: its model is {job.model}, its "
                f"training file {job.training_file}; or its settings differ.",
                hint="Name the job that was created for this run, or leave training.job_id out.",
            )
        if not may_give_model(job):
            raise ProviderError(
                f"training.job_id names {job_id}, which has ended without a model ({job.status}).",
                hint="Leave training.job_id out, and a new job is created.",
            )
        self.journal.add_found(
            job_id, self.request, is_ours=has_key or bool(self.journal.unclear), now=self.clock.now()
        )
        return StartedJob(job_id=job_id, status=job.status, adopted=True)

    async def _is_on_own_file(self, job: FineTuningJob) -> bool:
        own = {request.get("training_file") for request in (self.request, *self.journal.requests)}
        return job.training_file in own or await bears_key(self.client, job.training_file, self.journal.run_key)

    async def _search_once(self) -> FoundJobs:
        found = await find_own_jobs(self.client, self.journal.run_key, self.journal, self.request)
        return self._require_certain(found)

    def _require_certain(self, found: FoundJobs) -> FoundJobs:
        """The same jobs, if the provider's list was complete or the user trusts it; an incomplete list proves nothing.

        Raises:
            UnclearJobError: A job may exist that the list does not show.
        """
        # What a user said of the list holds for the attempts that they were asked about, and for no later one.
        is_trusted = self.trusts_incomplete_list and all(attempt.is_reported for attempt in self.journal.unclear)
        if found.usable or found.problem is None or is_trusted:
            return found
        host = self.client.base_url.host
        if self.journal.unclear:
            self.journal.report_unclear()
        if found.has_list:
            raise UnclearJobError(
                f"The list of jobs at {host} could not be read to its end ({found.problem}), so a job of this run may "
                "be there already. None was created.",
                hint="Where you know that there is none, set training.trust_incomplete_job_list to true in the "
                "configuration file (--config); where there is one, set training.job_id to its id.",
            )
        if self.journal.unclear:
            raise UnclearJobError(
                f"{host} has no list of jobs, and gave no clear answer to the last request for one: a job of this run "
                "may be there already. No other one was created.",
                hint="Look on the provider's own pages. Where there is a job, set training.job_id to its id in the "
                "configuration file (--config); where there is none, set training.trust_incomplete_job_list to true.",
            )
        self.say(f"{host} has no list of jobs: only the run's directory says what was created.")
        return found

    async def _search_after_unclear_answer(self) -> FoundJobs:
        """Search until the job shows up or the time is over, with growing pauses; what is found last is certain."""
        now = self.clock.now()
        deadline = min(max(attempt.asked_at for attempt in self.journal.unclear), now) + self.wait_seconds
        if deadline > now:
            self.say(
                f"Searching for the job for up to {(deadline - now) / 60:.0f} minutes before another one is asked for "
                "(training.unclear_answer_wait_minutes)."
            )
        pause = _FIRST_PAUSE_SECONDS
        while True:
            is_last = self.clock.now() >= deadline
            try:
                found = await find_own_jobs(self.client, self.journal.run_key, self.journal, self.request)
            except openai.OpenAIError as error:
                if is_last or not is_transient(error):
                    raise
            else:
                if found.usable or is_last or not found.has_list:
                    return self._require_certain(found)
            await self.clock.sleep(min(pause, max(deadline - self.clock.now(), 0.1)))
            pause = min(pause * _GROWTH, _LONGEST_PAUSE_SECONDS)
