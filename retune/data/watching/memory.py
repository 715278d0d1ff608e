"""What is remembered of a source between two looks, and what follows from the next one."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from retune.data.watching.config import WatchConfig
from retune.data.watching.sight import Sight

Judgement = Literal["busy", "empty", "unchanged", "settling", "too few", "to be counted", "enough", "announced"]
"""What came of a look so far; `busy`: another process is looking at this moment."""


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True)


class Announcement(_Fact):
    """What was announced last.

    Attributes:
        fingerprint: Of the data as it was.
        n_examples: How many it had.
        beside_rows: See `Sight`.
        event_id: The event that said it.
        at: When.
    """

    fingerprint: str
    n_examples: int
    beside_rows: str = ""
    event_id: str
    at: datetime


class Seen(_Fact):
    """What the data looks like lately, and since when."""

    fingerprint: str
    since: datetime


class Counted(_Fact):
    """What was counted in data that was not announced.

    Attributes:
        fingerprint: Of that data.
        n_examples: How many examples it has.
        n_new: How many of them are new since the last announcement.
    """

    fingerprint: str
    n_examples: int
    n_new: int


class WatchMemory(_Fact):
    """What is known of a watched source; a few hundred bytes as JSON.

    Attributes:
        source: What people call it.
        announced: None before the first announcement.
        seen: None while the data looks as it did when it was announced.
        counted: None where nothing was counted since.
    """

    source: str = ""
    announced: Announcement | None = None
    seen: Seen | None = None
    counted: Counted | None = None


class Verdict(_Fact):
    """What follows from a look.

    Attributes:
        judgement: In a word.
        memory: What is to be remembered now.
        wait_seconds: How long the data has to stay as it is; 0 unless it is settling.
    """

    judgement: Judgement
    memory: WatchMemory
    wait_seconds: float = 0.0


def judge(memory: WatchMemory, sight: Sight, watch: WatchConfig, now: datetime | None = None) -> Verdict:
    """Tell what a look means.

    An empty source leaves what is remembered as it was: whatever comes back is held against that.

    Args:
        memory: What earlier looks remembered.
        sight: What was seen.
        watch: When data counts as complete, and when it is enough.
        now: The time of the look, in UTC.
    """
    now = now or datetime.now(UTC)
    memory = memory.model_copy(update={"source": sight.source})
    if sight.is_empty:
        return Verdict(judgement="empty", memory=memory)
    if memory.announced is not None and memory.announced.fingerprint == sight.fingerprint:
        return Verdict(judgement="unchanged", memory=memory.model_copy(update={"seen": None, "counted": None}))
    seen = memory.seen
    # Of a time to come, as another machine's clock may have it, nothing can be counted from.
    if seen is None or seen.fingerprint != sight.fingerprint or seen.since > now:
        seen = Seen(fingerprint=sight.fingerprint, since=now)
    memory = memory.model_copy(update={"seen": seen})
    wait_seconds = watch.quiet_seconds - (now - seen.since).total_seconds()
    if wait_seconds > 0:
        return Verdict(judgement="settling", memory=memory, wait_seconds=wait_seconds)
    if (known := memory.counted) is not None and known.fingerprint == sight.fingerprint:
        if not known.n_new:
            return Verdict(judgement="unchanged", memory=memory)
        if known.n_new < watch.min_new_examples:
            return Verdict(judgement="too few", memory=memory)
    return Verdict(judgement="to be counted", memory=memory)


def count_by_rows(memory: WatchMemory, sight: Sight) -> Counted:
    """Count new examples by the watermark alone.

    As many are new as there are more rows than at the last announcement. Where there are not more, and the watermark's
    other columns differ, rows were changed: at least one is new, and no more is known.
    """
    n_rows = sight.n_rows or 0
    before = memory.announced
    n_new = n_rows
    if before is not None:
        n_new = max(n_rows - before.n_examples, int(sight.beside_rows != before.beside_rows))
    return Counted(fingerprint=sight.fingerprint, n_examples=n_rows, n_new=n_new)


def judge_count(memory: WatchMemory, counted: Counted, watch: WatchConfig) -> Verdict:
    """Tell what a count means. What is too little is remembered, so that it is not counted again before it changes.

    Args:
        memory: What `judge` remembered.
        counted: How many examples there are, and how many are new.
        watch: How many are enough.
    """
    memory = memory.model_copy(update={"counted": counted})
    if not counted.n_new:
        return Verdict(judgement="unchanged", memory=memory)
    return Verdict(judgement="enough" if counted.n_new >= watch.min_new_examples else "too few", memory=memory)


def remember_announced(memory: WatchMemory, counted: Counted, sight: Sight, event_id: str) -> WatchMemory:
    """What is to be remembered once an announcement was made."""
    announced = Announcement(
        fingerprint=counted.fingerprint,
        n_examples=counted.n_examples,
        beside_rows=sight.beside_rows,
        event_id=event_id,
        at=datetime.now(UTC),
    )
    return WatchMemory(source=memory.source, announced=announced)
