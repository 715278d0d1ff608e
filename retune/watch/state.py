"""The state of a watched source between two checks, and what to do after the next one."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from retune.watch.config import WatchConfig
from retune.watch.snapshot import SourceSnapshot

WatchStatus = Literal["busy", "empty", "unchanged", "settling", "too few", "to be counted", "enough", "announced"]
"""Result of a check so far; `busy`: another process is checking the source right now."""


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True)


class Announcement(_Fact):
    """What was announced last.

    Attributes:
        fingerprint: Of the data as it was.
        n_examples: How many it had.
        beside_rows: See `SourceSnapshot`.
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


class WatchState(_Fact):
    """What is known about a watched source; a few hundred bytes as JSON.

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


class WatchDecision(_Fact):
    """What to do after a check.

    Attributes:
        status: Result in a word.
        state: The state to save.
        wait_seconds: How long the data has to stay as it is; 0 unless it is settling.
    """

    status: WatchStatus
    state: WatchState
    wait_seconds: float = 0.0


def decide(
    state: WatchState, snapshot: SourceSnapshot, watch: WatchConfig, now: datetime | None = None
) -> WatchDecision:
    """Decide what a snapshot means.

    An empty source leaves the state as it is: whatever comes back is compared with that.

    Args:
        state: State that earlier checks saved.
        snapshot: What was seen.
        watch: When data counts as complete, and when it is enough.
        now: Time of the check, in UTC.
    """
    now = now or datetime.now(UTC)
    state = state.model_copy(update={"source": snapshot.source})
    if snapshot.is_empty:
        return WatchDecision(status="empty", state=state)
    if state.announced is not None and state.announced.fingerprint == snapshot.fingerprint:
        return WatchDecision(status="unchanged", state=state.model_copy(update={"seen": None, "counted": None}))
    seen = state.seen
    # A time in the future comes from another machine's clock.
    if seen is None or seen.fingerprint != snapshot.fingerprint or seen.since > now:
        seen = Seen(fingerprint=snapshot.fingerprint, since=now)
    state = state.model_copy(update={"seen": seen})
    wait_seconds = watch.quiet_seconds - (now - seen.since).total_seconds()
    if wait_seconds > 0:
        return WatchDecision(status="settling", state=state, wait_seconds=wait_seconds)
    if (known := state.counted) is not None and known.fingerprint == snapshot.fingerprint:
        if not known.n_new:
            return WatchDecision(status="unchanged", state=state)
        if known.n_new < watch.min_new_examples:
            return WatchDecision(status="too few", state=state)
    return WatchDecision(status="to be counted", state=state)


def count_by_rows(state: WatchState, snapshot: SourceSnapshot) -> Counted:
    """Count new examples by the watermark alone.

    As many are new as there are more rows than at the last announcement. Where there are not more, and the watermark's
    other columns differ, rows were changed: at least one is new, and no more is known.
    """
    n_rows = snapshot.n_rows or 0
    before = state.announced
    n_new = n_rows
    if before is not None:
        n_new = max(n_rows - before.n_examples, int(snapshot.beside_rows != before.beside_rows))
    return Counted(fingerprint=snapshot.fingerprint, n_examples=n_rows, n_new=n_new)


def decide_by_count(state: WatchState, counted: Counted, watch: WatchConfig) -> WatchDecision:
    """Decide what a count means. A count that is too small is saved, so that unchanged data is not counted again.

    Args:
        state: State from `decide`.
        counted: How many examples there are, and how many are new.
        watch: How many are enough.
    """
    state = state.model_copy(update={"counted": counted})
    if not counted.n_new:
        return WatchDecision(status="unchanged", state=state)
    return WatchDecision(status="enough" if counted.n_new >= watch.min_new_examples else "too few", state=state)


def with_announcement(state: WatchState, counted: Counted, snapshot: SourceSnapshot, event_id: str) -> WatchState:
    """The state after an announcement."""
    announced = Announcement(
        fingerprint=counted.fingerprint,
        n_examples=counted.n_examples,
        beside_rows=snapshot.beside_rows,
        event_id=event_id,
        at=datetime.now(UTC),
    )
    return WatchState(source=state.source, announced=announced)
