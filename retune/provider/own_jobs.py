"""Finding the jobs of a run among everybody's, and telling which of them it created.

- Its metadata holds the run key, or the journal has its id from the provider's own answer: it is adopted, and may be
  cancelled as a duplicate or with its flow run.
- It has no run key and is what a request in the journal asked for whose answer was lost: the same, unless there are
  more such jobs than lost answers; then it is adopted and never cancelled.
- It has no run key, there is no journal, and it is what this run asks for, on a file that bears the run key: it is
  adopted, and never cancelled.
- Anything else is somebody else's.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime

import openai
from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from retune.errors import JobVanishedError
from retune.provider.clock import SYSTEM_CLOCK, Clock
from retune.provider.errors import provider_call
from retune.provider.job_journal import RUN_KEY, JobAttempt, JobJournal, run_key_of
from retune.provider.jobs import retrieve_job
from retune.provider.paging import Listing, page_of, read_list
from retune.provider.statuses import has_ended, job_state, may_give_model
from retune.training_lines.keys import JsonObject

_NO_SUCH_ENDPOINT = (404, 405, 501)
_NO_SUCH_FILTER = (400, 422)
_CLOCKS_DIFFER_SECONDS = 300.0
_KNOWN_WITHIN_SECONDS = 300.0
_NOT_REPORTED = object()


@dataclass(slots=True)
class FoundJobs:
    """Jobs of one run at the provider.

    Attributes:
        jobs: Oldest first.
        ours: Ids of those that this run is proven to have created.
        problem: Why there may be others; None where everything was seen.
        has_list: The provider can list jobs at all.
    """

    jobs: list[FineTuningJob]
    ours: set[str] = field(default_factory=set)
    problem: str | None = None
    has_list: bool = True

    def include(self, job: FineTuningJob, *, is_ours: bool) -> None:
        """Count a job in that the list may not show yet."""
        if all(known.id != job.id for known in self.jobs):
            self.jobs = _oldest_first([*self.jobs, job])
        if is_ours:
            self.ours.add(job.id)

    @property
    def usable(self) -> list[FineTuningJob]:
        """Jobs that have given a model or may still give one, oldest first."""
        return [job for job in self.jobs if may_give_model(job)]


async def find_own_jobs(
    client: AsyncOpenAI, run_key: str, journal: JobJournal | None, request: JsonObject | None
) -> FoundJobs:
    """Search the provider's list for the jobs of a run.

    Args:
        client: Who asks.
        run_key: The run.
        journal: What the run has written down; None where its directory is elsewhere.
        request: What the run asks for; None where only what it created is wanted.

    Raises:
        ProviderError: The provider refuses to list jobs.
        openai.OpenAIError: A transient failure.
    """
    try:
        async with provider_call("looking for an existing job", passed_on=_NO_SUCH_ENDPOINT):
            listing = await _list_by_key(client, run_key)
            if not any(run_key_of(job) == run_key for job in listing.items):
                # The host keeps no metadata, or answers before it knows a new job.
                listing = await _list_all(client)
    except openai.APIStatusError as error:
        if error.status_code not in _NO_SUCH_ENDPOINT:
            raise
        return FoundJobs([], problem="the provider has no list of jobs", has_list=False)
    keyed = [job for job in listing.items if run_key_of(job) == run_key]
    # Once the run's own key is seen, the host keeps metadata, and a job without it is somebody else's.
    unkeyed = [] if keyed else [job for job in listing.items if run_key_of(job) is None]
    ours = {job.id for job in keyed} | {job.id for job in unkeyed if journal and journal.is_ours(job.id)}
    attempts = {str(attempt.job_id): attempt for attempt in journal.recorded} if journal else {}
    known = [job for job in unkeyed if job.id in attempts and not _was_taken_wrongly(job, attempts[job.id], request)]
    strangers = [job for job in unkeyed if job.id not in attempts]
    matching, proven = await _matching(client, run_key, strangers, journal, request)
    jobs = [await _as_it_is_now(client, job) for job in (*keyed, *known, *matching)]
    return FoundJobs(_oldest_first(jobs), ours | proven, listing.problem)


async def _as_it_is_now(client: AsyncOpenAI, job: FineTuningJob) -> FineTuningJob:
    """A list may lag: a job that it shows as running may have ended, and no other one may be cancelled for it."""
    if has_ended(job):
        return job
    try:
        return await retrieve_job(client, job.id, passed_on=_NO_SUCH_ENDPOINT)
    except openai.APIStatusError as error:
        if error.status_code not in _NO_SUCH_ENDPOINT:
            raise
        return job


async def recorded_job(
    client: AsyncOpenAI, journal: JobJournal, request: JsonObject | None, *, clock: Clock = SYSTEM_CLOCK
) -> FineTuningJob | None:
    """The job that the journal names, as it is now; None where there is none, or it ended without a model.

    Raises:
        JobVanishedError: The provider does not know it any more.
        ProviderError: The provider refuses.
        openai.OpenAIError: A transient failure.
    """
    for attempt in journal.recorded:
        job_id = str(attempt.job_id)
        try:
            job = await retrieve_job(client, job_id, passed_on=(404,))
        except openai.NotFoundError:
            last = journal.last_seen(job_id)
            if last and not may_give_model(last):
                continue
            if last and job_state(last) == "succeeded" and last.fine_tuned_model:
                return last
            if clock.now() - attempt.asked_at < _KNOWN_WITHIN_SECONDS and attempt.request:
                # Not every part of the provider may know it yet; whoever follows it looks again.
                return FineTuningJob.construct(**{**attempt.request, "id": job_id, "status": "created"})
            raise job_vanished(job_id, client) from None
        if may_give_model(job) and not _was_taken_wrongly(job, attempt, request):
            return job
    return None


async def existing_job(client: AsyncOpenAI, journal: JobJournal, request: JsonObject) -> FineTuningJob | None:
    """The job that this run would adopt: the one written down, else one found at the provider.

    Raises:
        JobVanishedError: The provider does not know the job that was written down.
        ProviderError: The provider refuses.
        openai.OpenAIError: A transient failure.
    """
    if job := await recorded_job(client, journal, request):
        return job
    usable = (await find_own_jobs(client, journal.run_key, journal, request)).usable
    return kept_among(usable) if usable else None


def kept_among(jobs: list[FineTuningJob]) -> FineTuningJob:
    """Which of several jobs stays: one that succeeded, else the oldest; the same for everybody who looks."""
    return ([job for job in jobs if job_state(job) == "succeeded"] or jobs)[0]


def job_vanished(job_id: str, client: AsyncOpenAI) -> JobVanishedError:
    """What to say of a job that was there and is not."""
    return JobVanishedError(
        f"{client.base_url.host} does not know the fine-tuning job {job_id}, which this run has used before. "
        "No other one was created.",
        job_id=job_id,
        hint="Check that the address and the API key are those of the same account and project. "
        "Where the job was deleted, --attempt TEXT trains a new one.",
    )


def agrees(job: FineTuningJob, request: JsonObject, *, with_files: bool = True) -> bool:
    """Whether a job is what a request asked for, as far as its host reports it.

    Numbers that were left to the provider (`auto`) agree with any; what a host doesn't report agrees.
    """
    files = [name for name in ("training_file", "validation_file") if with_files and name in request]
    if any(_differs(_reported(job, name), request[name]) for name in files):
        return False
    suffix = _reported(job, "user_provided_suffix", "suffix")
    if suffix is not _NOT_REPORTED and (suffix or None) != (request.get("suffix") or None):
        return False
    if "seed" in request and job.seed is not None and job.seed != request["seed"]:
        return False
    method = job.method.type if job.method else None
    return (
        _is_same_model(job.model, request["model"])
        and method in (None, request["method"]["type"])
        and _agree_in_numbers(job, request)
    )


def _oldest_first(jobs: list[FineTuningJob]) -> list[FineTuningJob]:
    # Within one second the list's order decides. An id would not do: a job that shows up later could then take the
    # place of one that somebody has settled on already.
    is_newest_first = bool(jobs) and created_at(jobs[0]) >= created_at(jobs[-1])
    return sorted(reversed(jobs) if is_newest_first else jobs, key=created_at)


def created_at(item: FineTuningJob | FineTuningJobEvent) -> float:
    """When a job or event was created, in Unix seconds."""
    return unix_seconds(item.created_at)


def unix_seconds(value: object) -> float:
    """A time as a host gives it, in Unix seconds: some write a date. What can't be read is 0."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return 0.0
    return float(value) if isinstance(value, int | float) else 0.0


async def _list_by_key(client: AsyncOpenAI, run_key: str) -> Listing[FineTuningJob]:
    jobs = client.fine_tuning.jobs
    try:
        return await read_list(lambda after, limit: jobs.list(metadata={RUN_KEY: run_key}, **page_of(after, limit)))
    except openai.APIStatusError as error:
        if error.status_code not in _NO_SUCH_FILTER:
            raise
        return Listing([])


async def _list_all(client: AsyncOpenAI) -> Listing[FineTuningJob]:
    return await read_list(lambda after, limit: client.fine_tuning.jobs.list(**page_of(after, limit)))


async def _matching(
    client: AsyncOpenAI,
    run_key: str,
    strangers: list[FineTuningJob],
    journal: JobJournal | None,
    request: JsonObject | None,
) -> tuple[list[FineTuningJob], set[str]]:
    """Jobs without a run key that are what this run asked for, and the ids of those that it is proven to have made."""
    unclear = journal.unclear if journal else []
    if journal is None or not strangers:
        return [], set()
    if unclear:
        asked_for = [
            job
            for job in strangers
            if _time_asked_for(job, unclear) is not None and not journal.is_recorded_elsewhere(job.id)
        ]
        lost = [
            job for job in asked_for if created_at(job) >= (_time_asked_for(job, unclear) or 0) - _CLOCKS_DIFFER_SECONDS
        ]
        if lost:
            return lost, {job.id for job in lost} if len(lost) <= len(unclear) else set()
        # This machine's clock may be wrong, or the host gives no times: adopting it is cheaper than paying again.
        return asked_for, set()
    if journal.attempts or request is None:
        return [], set()
    same = [job for job in strangers if agrees(job, request) and not journal.is_recorded_elsewhere(job.id)]
    if not same or not await bears_key(client, request["training_file"], run_key):
        return [], set()
    return same, set()


def _time_asked_for(job: FineTuningJob, attempts: list[JobAttempt]) -> float | None:
    return min((attempt.asked_at for attempt in attempts if agrees(job, attempt.request)), default=None)


async def bears_key(client: AsyncOpenAI, file_id: str, run_key: str) -> bool:
    """Whether the provider has a file whose name begins with a run key."""
    try:
        async with provider_call(f"looking at {file_id}", passed_on=_NO_SUCH_ENDPOINT):
            file = await client.files.retrieve(file_id)
    except openai.APIStatusError as error:
        if error.status_code not in _NO_SUCH_ENDPOINT:
            raise
        return False
    return str(getattr(file, "filename", "")).startswith(run_key)


def _was_taken_wrongly(job: FineTuningJob, attempt: JobAttempt, request: JsonObject | None) -> bool:
    """Whether an earlier version, which wrote no journal, took somebody else's job for this run's."""
    if attempt.request or attempt.is_ours or not request:
        return False
    return not agrees(job, request, with_files=False)


def _reported(job: FineTuningJob, *names: str) -> object:
    for name in names:
        if name in job.model_fields_set or name in (job.model_extra or {}):
            return getattr(job, name)
    return _NOT_REPORTED


def _differs(reported: object, asked: object) -> bool:
    return reported is not _NOT_REPORTED and reported != asked


def _is_same_model(reported: str | None, asked: str) -> bool:
    """Whether a model is the one asked for, or the snapshot that its short name stands for."""
    if not reported or reported == asked:
        return reported == asked
    short, long = sorted((reported, asked), key=len)
    rest = long.removeprefix(short)
    return rest != long and rest.startswith("-") and rest[1:].replace("-", "").isdigit() and len(rest) >= len("-0125")


def _agree_in_numbers(job: FineTuningJob, request: JsonObject) -> bool:
    method = request["method"]["type"]
    asked = request["method"][method]["hyperparameters"]
    part = getattr(job.method, method, None) if job.method else None
    for reported in (job.hyperparameters, getattr(part, "hyperparameters", None)):
        for name, value in asked.items():
            seen = getattr(reported, name, None)
            if value == "auto" or seen is None:
                continue
            if not isinstance(seen, int | float) or not math.isclose(seen, float(value), rel_tol=1e-6):
                return False
    return True
