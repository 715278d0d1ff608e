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
from retune.errors import JobCancelledError, JobFailedError
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
    """

    job: FineTuningJob
    events: list[FineTuningJobEvent]

    @property
    def has_ended(self) -> bool:
        """Whether the job's status is final."""
        return self.job.status in ENDED


@dataclass(slots=True)
class _Reader:
    client: AsyncOpenAI
    job_id: str
    seen: set[str] = field(default_factory=set)
    heard_last_words: bool = False

    async def look(self) -> JobUpdate:
        async with provider_call(f"looking at {self.job_id}"):
            # The job first: events written before it was read are then surely among those read after it.
            job = await self.client.fine_tuning.jobs.retrieve(self.job_id)
            events = await self._new_events()
        self.seen.update(event.id for event in events)
        self.heard_last_words |= any(words in event.message for event in events for words in _LAST_WORDS)
        return JobUpdate(job=job, events=events)

    async def _new_events(self) -> list[FineTuningJobEvent]:
        newest_first: deque[FineTuningJobEvent] = deque()
        pages = self.client.fine_tuning.jobs.list_events(self.job_id, limit=_EVENTS_PER_PAGE)
        async for event in each_once(pages):
            if event.id in self.seen:
                break
            newest_first.appendleft(event)
        return list(newest_first)


async def follow_job(
    client: AsyncOpenAI,
    job_id: str,
    pauses: PollingPauses,
    *,
    seen_events: set[str] | None = None,
    on_trouble: Callable[[openai.OpenAIError, float], None] | None = None,
) -> AsyncIterator[JobUpdate]:
    """Look at a job until it has ended, yielding every look that brought something new, and the last one.

    Every event comes once, in order. Transient failures are told to `on_trouble` (with the pause until the next look,
    in seconds) and never end the following: the job goes on whether or not anybody can see it.

    Raises:
        ProviderError: The provider says no for good: no such job, or the key is refused.
    """
    reader = _Reader(client, job_id, seen_events if seen_events is not None else set())
    last_status: str | None = None
    quiet_looks = 0
    looks_after_the_end = 0
    while True:
        try:
            update = await reader.look()
        except openai.OpenAIError as error:
            if not is_transient(error):
                raise
            pause = 0.0 if retry_after_seconds(error) else pauses.after(quiet_looks := quiet_looks + 1)
            if on_trouble:
                on_trouble(error, pause)
            await asyncio.sleep(pause)
            continue
        is_news = bool(update.events) or update.job.status != last_status
        last_status = update.job.status
        if update.has_ended:
            looks_after_the_end += 1
            complete = update.job.status != "succeeded" or reader.heard_last_words
            if complete or looks_after_the_end > _LAST_EVENTS_PATIENCE_LOOKS:
                yield update
                return
        if is_news:
            yield update
        quiet_looks = 0 if is_news else quiet_looks + 1
        await asyncio.sleep(pauses.after(quiet_looks))


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
