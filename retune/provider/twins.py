"""Several jobs of one run: which one stays, and the watch for one that shows up late."""

from collections.abc import Callable
from dataclasses import dataclass, field

import openai
from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob

from retune.errors import ProviderError
from retune.provider.clock import SYSTEM_CLOCK, Clock
from retune.provider.errors import one_line
from retune.provider.job_journal import JobJournal
from retune.provider.jobs import cancel_job, retrieve_job
from retune.provider.own_jobs import FoundJobs, find_own_jobs, kept_among
from retune.provider.statuses import has_ended

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _GROWTH = 5.0, 300.0, 2.0

Say = Callable[[str], None]
"""Called with one line for people, where waiting or a decision needs a word."""


async def settle(client: AsyncOpenAI, found: FoundJobs) -> tuple[FineTuningJob, list[str]]:
    """Choose the job that stays and cancel the others, as far as this run is proven to have created them.

    Returns:
        The job that stays, and the ids of those that were cancelled.
    """
    # A job that may be somebody else's is never preferred to one that this run has created.
    kept = kept_among([job for job in found.usable if job.id in found.ours] or found.usable)
    duplicates = [job.id for job in found.usable if job.id != kept.id and job.id in found.ours and not has_ended(job)]
    return kept, [job_id for job_id in duplicates if await _cancel_duplicate(client, job_id)]


async def _cancel_duplicate(client: AsyncOpenAI, job_id: str) -> bool:
    try:
        await cancel_job(client, job_id)
    except ProviderError:
        # Somebody else who found it may have been quicker.
        if has_ended(await retrieve_job(client, job_id)):
            return False
        raise
    return True


@dataclass(slots=True)
class TwinWatch:
    """Looks, while a job runs, whether another one of the same run shows up late.

    A list may lag, so that two machines, or a request whose answer was lost, have made two jobs and nobody saw it.
    """

    client: AsyncOpenAI
    journal: JobJournal
    wait_seconds: float
    say: Say = lambda _line: None
    clock: Clock = SYSTEM_CLOCK
    _next_look_at: float = 0.0
    _pause_seconds: float = _FIRST_PAUSE_SECONDS
    _named: set[str] = field(default_factory=set)

    async def other_job(self, job_id: str, *, has_ended: bool = False) -> str | None:
        """Look for another job to follow instead of this one, if it is time to; its id, or None.

        The pauses between the looks grow from 5 seconds to 5 minutes. A job that has ended gets a last look: another
        machine may have cancelled it in favour of an older one, and a twin must not be left running.
        """
        now = self.clock.now()
        if not has_ended and (now < self._next_look_at or not self.may_have_twin()):
            return None
        self._next_look_at = now + self._pause_seconds
        self._pause_seconds = min(self._pause_seconds * _GROWTH, _LONGEST_PAUSE_SECONDS)
        try:
            return await self.look_once(job_id)
        except (openai.OpenAIError, ProviderError) as error:
            if has_ended:
                self.say(f"Could not look for duplicates of {job_id}: {one_line(error)}")
            # Otherwise whoever follows the job says what is wrong with the provider.
            return None

    async def look_once(self, job_id: str) -> str | None:
        """Look for twins of a job, cancel those that have to go, and give the one to follow instead.

        Raises:
            ProviderError: The provider refuses.
            openai.OpenAIError: A transient failure.
        """
        request = self.journal.request
        found = await find_own_jobs(self.client, self.journal.run_key, self.journal, request)
        others = [job for job in found.usable if job.id != job_id]
        if not others:
            return None
        found.include(await retrieve_job(self.client, job_id), is_ours=self.journal.is_ours(job_id))
        kept, cancelled = await settle(self.client, found)
        for duplicate in cancelled:
            self.say(f"Cancelled {duplicate}: {kept.id} is the job of the same run, and was there first.")
        for job in others:
            if job.id in found.ours or job.id == kept.id:
                self.journal.add_found(job.id, request or {}, is_ours=job.id in found.ours, now=self.clock.now())
            elif job.id not in self._named:
                self._named.add(job.id)
                self.say(
                    f"{job.id} ({job.status}) has the same settings and the same file as {kept.id}. It can't be proven "
                    f"that this run created it, so it is left alone. To cancel it: retune jobs cancel {job.id}"
                )
        return kept.id if kept.id != job_id else None

    def may_have_twin(self) -> bool:
        """Whether another job of this run may show up yet."""
        if self.journal.unclear:
            return True
        newest = self.journal.attempts[-1] if self.journal.attempts else None
        return newest is not None and self.clock.now() < newest.asked_at + self.wait_seconds
