"""Following a job from wherever it is to its end."""

import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import openai
from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from retune.config import TrainingConfig
from retune.errors import (
    JobCancelledError,
    JobFailedError,
    JobWaitTimeoutError,
    ProviderError,
    RetuneError,
    UnexpectedAnswerError,
)
from retune.provider.clock import SYSTEM_CLOCK, Clock
from retune.provider.endpoint import is_local
from retune.provider.errors import is_transient, may_have_been_done, provider_call, retry_after_seconds
from retune.provider.jobs import retrieve_job
from retune.provider.own_jobs import created_at, job_vanished, unix_seconds
from retune.provider.paging import Page, page_of
from retune.provider.statuses import JobState, has_ended, job_state
from retune.provider.twins import TwinWatch
from retune.training_lines.keys import JsonObject

_LONGEST_PAUSE_SECONDS = 60.0
_GROWTH = 1.5
_JITTER = 0.2
_EVENTS_PER_PAGE = 100
_MOST_EVENT_PAGES = 1000
_NO_SUCH_ENDPOINT = (404, 405, 501)
# Success can be visible some seconds before the last events are, and before the model's name.
_MAX_POLLS_WITHOUT_LAST_EVENTS = 3
_MAX_POLLS_WITHOUT_MODEL = 10
# A job that was just created may not be known everywhere yet.
_MAX_POLLS_WITHOUT_JOB = 5
_LAST_WORDS = ("successfully completed",)


@dataclass(frozen=True, slots=True)
class PollingPauses:
    """Pauses between two polls: from `first_seconds`, times 1.5 while nothing happens, to at most `longest_seconds`.

    Each is varied by ±20 %, so that many runs started together don't keep asking together.
    """

    first_seconds: float
    longest_seconds: float

    def after(self, n_unchanged: int) -> float:
        """Pause in seconds after this many polls in a row that brought nothing new."""
        steady = min(self.first_seconds * _GROWTH ** min(n_unchanged, 64), self.longest_seconds)
        return float(min(steady * random.uniform(1 - _JITTER, 1 + _JITTER), self.longest_seconds))  # noqa: S311 - no secret


def pauses_at(base_url: str, training: TrainingConfig | None = None) -> PollingPauses:
    """Pauses for the provider at this address: short ones where asking costs nobody anything."""
    first = training.poll_interval_seconds if training else "auto"
    longest = training.max_poll_interval_seconds if training else _LONGEST_PAUSE_SECONDS
    if first == "auto":
        first, longest = (0.5, min(longest, 2.0)) if is_local(base_url) else (10.0, longest)
    return PollingPauses(first_seconds=min(first, longest), longest_seconds=longest)


@dataclass(slots=True)
class JobUpdate:
    """What one poll of a job brought.

    Attributes:
        job: The job as it is now.
        events: Events not handed out before, oldest first.
        is_news: There are such events, or the status is another one.
    """

    job: FineTuningJob
    events: list[FineTuningJobEvent]
    is_news: bool

    @property
    def state(self) -> JobState:
        """What the provider's status word means."""
        return job_state(self.job)

    @property
    def has_ended(self) -> bool:
        """Whether the job's status is final."""
        return has_ended(self.job)


@dataclass(slots=True)
class _Reader:
    client: AsyncOpenAI
    job_id: str
    seen: set[str] = field(default_factory=set)
    last_status: str | None = None
    heard_last_words: bool = False
    polls_after_the_end: int = 0
    missed: int = 0

    async def poll(self) -> JobUpdate:
        try:
            # The job first: events written before it was read are then surely among those read after it.
            job = await retrieve_job(self.client, self.job_id, passed_on=(404,))
        except openai.NotFoundError:
            self.missed += 1
            raise
        self.missed = 0
        events = await self._new_events()
        is_news = bool(events) or job.status != self.last_status
        self.last_status = job.status
        self.seen.update(event.id for event in events)
        self.heard_last_words |= any(words in event.message for event in events for words in _LAST_WORDS)
        self.polls_after_the_end += has_ended(job)
        return JobUpdate(job=job, events=events, is_news=is_news)

    async def _new_events(self) -> list[FineTuningJobEvent]:
        """Events that were not seen before, oldest first, whichever end of the list the host begins with."""
        found: dict[str, FineTuningJobEvent] = {}
        cursors: set[str] = set()
        after: str | None = None
        while len(cursors) < _MOST_EVENT_PAGES and after not in cursors:
            if after:
                cursors.add(after)
            page = await self._events_page(after)
            data = page.data if page else None
            if page is None or not data:
                break
            found.update({event.id: event for event in data if event.id not in self.seen})
            is_newest_first = created_at(data[0]) >= created_at(data[-1])
            if page.has_more is False or (is_newest_first and any(event.id in self.seen for event in data)):
                break
            after = data[-1].id
        events = list(found.values())
        if events and created_at(events[0]) >= created_at(events[-1]):
            events.reverse()
        return sorted(events, key=created_at)

    async def _events_page(self, after: str | None) -> Page[FineTuningJobEvent] | None:
        try:
            async with provider_call(f"reading the events of {self.job_id}", passed_on=_NO_SUCH_ENDPOINT):
                events = self.client.fine_tuning.jobs
                page: Any = await events.list_events(self.job_id, **page_of(after, _EVENTS_PER_PAGE))
        except openai.APIStatusError as error:
            if error.status_code not in _NO_SUCH_ENDPOINT:
                raise
            # A host without events still has the job's status.
            return None
        return page if hasattr(page, "data") else None

    def has_heard_all(self, update: JobUpdate) -> bool:
        """Whether the job has ended and its last events, and its model's name, are in."""
        if update.state != "succeeded":
            return update.has_ended
        if not update.job.fine_tuned_model and self.polls_after_the_end <= _MAX_POLLS_WITHOUT_MODEL:
            return False
        return self.heard_last_words or self.polls_after_the_end > _MAX_POLLS_WITHOUT_LAST_EVENTS


async def poll_job(client: AsyncOpenAI, job_id: str) -> JobUpdate:
    """Read a job as it is now, and all its events so far.

    Raises:
        ProviderError: The provider knows no such job, or refuses the key.
        openai.OpenAIError: A transient failure.
    """
    async with provider_call(f"looking at {job_id}"):
        return await _Reader(client, job_id).poll()


async def follow_job(
    client: AsyncOpenAI,
    job_id: str,
    pauses: PollingPauses,
    *,
    max_wait_seconds: float = math.inf,
    twins: TwinWatch | None = None,
    on_trouble: Callable[[Exception, float], None] = lambda _error, _pause: None,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncIterator[JobUpdate]:
    """Poll a job until it has ended, yielding every update that brings something new, and the last one.

    Every event comes once, in order. Transient failures are reported to `on_trouble` (with the pause until the next
    poll, in seconds) and do not end the following: the job continues whether or not anybody can see it. Where `twins`
    finds that another job is the run's, that one is followed from there on: the update's job says which.

    Raises:
        JobWaitTimeoutError: The job has not ended within `max_wait_seconds`; it was left alone.
        JobVanishedError: The provider does not know the job, several times in a row.
        ProviderError: The provider refuses for good: the key, or the account's credit.
    """
    reader = _Reader(client, job_id)
    deadline = clock.now() + max_wait_seconds
    n_unchanged = 0
    while True:
        if twins and (other := await twins.other_job(reader.job_id)):
            reader = _Reader(client, other)
        update, trouble = await _try_to_poll(reader)
        n_unchanged = 0 if update and update.is_news else n_unchanged + 1
        pause = pauses.after(n_unchanged)
        if trouble:
            pause = max(pause, retry_after_seconds(trouble) or 0)
            on_trouble(trouble, pause)
        if update and reader.has_heard_all(update):
            is_last = twins is None or not (twins.may_have_twin() or update.state == "cancelled")
            if twins and not is_last and (other := await twins.other_job(reader.job_id, has_ended=True)):
                reader = _Reader(client, other)
                continue
            yield update
            return
        if update and update.is_news:
            yield update
        if clock.now() >= deadline:
            raise _not_ended(reader, max_wait_seconds)
        await clock.sleep(min(pause, max(deadline - clock.now(), 0.0)))


async def _try_to_poll(reader: _Reader) -> tuple[JobUpdate, None] | tuple[None, Exception]:
    try:
        return await reader.poll(), None
    except UnexpectedAnswerError as error:
        # A login page or a proxy in between; the job does not care.
        return None, error
    except openai.NotFoundError as error:
        if reader.missed > _MAX_POLLS_WITHOUT_JOB:
            raise job_vanished(reader.job_id, reader.client) from None
        return None, error
    except openai.OpenAIError as error:
        return None, error
    except ProviderError as error:
        if not _passes(error.__context__):
            raise _with_job(error, reader.job_id) from None
        return None, error


def _passes(error: BaseException | None) -> bool:
    """Whether a later poll may succeed although the request must not be repeated at once."""
    return isinstance(error, openai.APIStatusError) and (is_transient(error) or may_have_been_done(error))


def _with_job(error: RetuneError, job_id: str) -> RetuneError:
    hint = error.hint or "The provider does not let this key see the job."
    error.hint = f"{hint} {job_id} was not cancelled: run the same command again to follow it."
    return error


def _not_ended(reader: _Reader, seconds: float) -> JobWaitTimeoutError:
    return JobWaitTimeoutError(
        f"The fine-tuning job {reader.job_id} has not ended within {seconds / 3600:g} hours "
        f"(training.max_wait_hours). Its status is {reader.last_status or 'not known'!r}.",
        job_id=reader.job_id,
        hint="It was not cancelled: run the same command again to wait for it. `retune jobs cancel` ends it.",
    )


def raise_unless_succeeded(job: FineTuningJob) -> None:
    """Turn a job that ended without a model into an error in the provider's own words.

    Raises:
        JobFailedError: With the provider's code, message and param.
        JobCancelledError: Somebody cancelled it.
    """
    if job_state(job) == "cancelled":
        raise JobCancelledError(
            f"The fine-tuning job {job.id} was cancelled{_as_said(job, 'cancelled')}.",
            job_id=job.id,
            hint="Run the same command again to start a new one.",
        )
    if job_state(job) == "failed":
        # A healthy job's error may be an empty object, which the SDK turns into a truthy one.
        error = job.error if job.error and job.error.code else None
        no_reason = f"the provider gave no reason{_as_said(job, 'failed')}; see `retune jobs events`"
        message = error.message if error else no_reason
        code = f" [{error.code}]" if error else ""
        param = f" (param: {error.param})" if error and error.param else ""
        raise JobFailedError(
            f"The fine-tuning job {job.id} failed{code}: {message}{param}",
            job_id=job.id,
            code=error.code if error else None,
            param=error.param if error else None,
            hint="Fix the cause, then run the same command again; a new job will be created.",
        )


def _as_said(job: FineTuningJob, usual: str) -> str:
    return "" if job.status == usual else f" (its status is {job.status!r})"


def event_as_dict(event: FineTuningJobEvent) -> JsonObject:
    """An event as plain JSON values, as the API gave it."""
    return event.model_dump(mode="json")


def running_seconds(job: FineTuningJob, events: Sequence[FineTuningJobEvent]) -> float | None:
    """Whole seconds from the event that training started to the job's end; None where that can't be told."""
    started = next((created_at(event) for event in events if event.message.endswith("job started")), None)
    last = created_at(events[-1]) if events and has_ended(job) else None
    ended = unix_seconds(job.finished_at) if job.finished_at else last
    return float(max(ended - started, 0)) if started and ended else None
