"""Following a job from wherever it is to its end."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import openai
from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from retune.config import TrainingConfig
from retune.errors import JobCancelledError, JobFailedError, UnexpectedAnswerError
from retune.provider.endpoint import is_local
from retune.provider.errors import is_transient, provider_call, retry_after_seconds
from retune.provider.jobs import ENDED
from retune.provider.paging import each_once

_LONGEST_PAUSE_SECONDS = 60.0
_GROWTH = 1.5
_JITTER = 0.2
_EVENTS_PER_PAGE = 100
# Success can be visible some seconds before the last events are.
_LAST_EVENTS_PATIENCE_LOOKS = 3
_LAST_WORDS = ("successfully completed",)


@dataclass(frozen=True, slots=True)
class PollingPauses:
    """Pauses between two looks: from `first_seconds`, times 1.5 while nothing happens, to at most `longest_seconds`.

    Each is varied by ±20 %, so that many runs started together don't keep asking together.
    """

    first_seconds: float
    longest_seconds: float

    def after(self, quiet_looks: int) -> float:
        """Pause in seconds after so many looks that brought nothing new."""
        steady = min(self.first_seconds * _GROWTH ** min(quiet_looks, 64), self.longest_seconds)
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
    """What one look at a job brought.

    Attributes:
        job: The job as it is now.
        events: Events not handed out before, oldest first.
        is_news: There are such events, or the status is another one.
    """

    job: FineTuningJob
    events: list[FineTuningJobEvent]
    is_news: bool

    @property
    def has_ended(self) -> bool:
        """Whether the job's status is final."""
        return self.job.status in ENDED


@dataclass(slots=True)
class _Reader:
    client: AsyncOpenAI
    job_id: str
    seen: set[str] = field(default_factory=set)
    last_status: str | None = None
    heard_last_words: bool = False
    looks_after_the_end: int = 0

    async def look(self) -> JobUpdate:
        async with provider_call(f"looking at {self.job_id}"):
            # The job first: events written before it was read are then surely among those read after it.
            job = await self.client.fine_tuning.jobs.retrieve(self.job_id)
            events = await self._new_events()
        is_news = bool(events) or job.status != self.last_status
        self.last_status = job.status
        self.seen.update(event.id for event in events)
        self.heard_last_words |= any(words in event.message for event in events for words in _LAST_WORDS)
        self.looks_after_the_end += job.status in ENDED
        return JobUpdate(job=job, events=events, is_news=is_news)

    async def _new_events(self) -> list[FineTuningJobEvent]:
        newest_first: deque[FineTuningJobEvent] = deque()
        pages = self.client.fine_tuning.jobs.list_events(self.job_id, limit=_EVENTS_PER_PAGE)
        async for event in each_once(pages):
            if event.id in self.seen:
                break
            newest_first.appendleft(event)
        return list(newest_first)

    def has_heard_all(self, update: JobUpdate) -> bool:
        """Whether the job has ended and its last events are in."""
        if not update.has_ended:
            return False
        said_all = update.job.status != "succeeded" or self.heard_last_words
        return said_all or self.looks_after_the_end > _LAST_EVENTS_PATIENCE_LOOKS


async def look_at_job(client: AsyncOpenAI, job_id: str) -> JobUpdate:
    """Look once: the job as it is now, and all its events so far.

    Raises:
        ProviderError: The provider knows no such job, or refuses the key.
        openai.OpenAIError: A transient failure.
    """
    return await _Reader(client, job_id).look()


async def follow_job(
    client: AsyncOpenAI,
    job_id: str,
    pauses: PollingPauses,
    *,
    on_trouble: Callable[[Exception, float], None] | None = None,
) -> AsyncIterator[JobUpdate]:
    """Look at a job until it has ended, yielding every look that brought something new, and the last one.

    Every event comes once, in order. Transient failures are told to `on_trouble` (with the pause until the next look,
    in seconds) and never end the following: the job goes on whether or not anybody can see it.

    Raises:
        ProviderError: The provider says no for good: no such job, or the key is refused.
    """
    reader = _Reader(client, job_id)
    quiet_looks = 0
    while True:
        update, trouble = await _try_to_look(reader)
        quiet_looks = 0 if update and update.is_news else quiet_looks + 1
        pause = pauses.after(quiet_looks)
        if trouble:
            pause = max(pause, retry_after_seconds(trouble) or 0)
            if on_trouble:
                on_trouble(trouble, pause)
        if update and reader.has_heard_all(update):
            yield update
            return
        if update and update.is_news:
            yield update
        await asyncio.sleep(pause)


async def _try_to_look(reader: _Reader) -> tuple[JobUpdate, None] | tuple[None, Exception]:
    try:
        return await reader.look(), None
    except UnexpectedAnswerError as error:
        # A login page or a proxy in between; the job does not care.
        return None, error
    except openai.OpenAIError as error:
        if not is_transient(error):
            raise
        return None, error


def raise_unless_succeeded(job: FineTuningJob) -> None:
    """Turn a job that ended without a model into an error in the provider's own words.

    Raises:
        JobFailedError: With the provider's code, message and param.
        JobCancelledError: Somebody cancelled it.
    """
    if job.status == "cancelled":
        raise JobCancelledError(
            f"The fine-tuning job {job.id} was cancelled.",
            job_id=job.id,
            hint="Run the same command again to start a new one.",
        )
    if job.status == "failed":
        # A healthy job's error may be an empty object, which the SDK turns into a truthy one.
        error = job.error if job.error and job.error.code else None
        message = error.message if error else "the provider gave no reason; see `retune jobs events`"
        code = f" [{error.code}]" if error else ""
        param = f" (param: {error.param})" if error and error.param else ""
        raise JobFailedError(
            f"The fine-tuning job {job.id} failed{code}: {message}{param}",
            job_id=job.id,
            code=error.code if error else None,
            param=error.param if error else None,
            hint="Mend the cause, then run the same command again; a new job will be created.",
        )


def event_as_dict(event: FineTuningJobEvent) -> dict[str, Any]:
    """An event as plain JSON values, as the API gave it."""
    return event.model_dump(mode="json")


def running_seconds(job: FineTuningJob, events: Sequence[FineTuningJobEvent]) -> float | None:
    """Whole seconds from the event that training started to the job's end; None where that can't be told."""
    started = next((event.created_at for event in events if event.message.endswith("job started")), None)
    ended = job.finished_at or (events[-1].created_at if events and job.status in ENDED else None)
    return float(max(ended - started, 0)) if started and ended else None
