"""What follows from looks that come one after the other."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from retune.watch.config import WatchConfig
from retune.watch.snapshot import SourceSnapshot
from retune.watch.state import Counted, WatchState, decide, decide_by_count, with_announcement

START = datetime(2026, 1, 1, tzinfo=UTC)
WATCH = WatchConfig(quiet_seconds=60, min_new_examples=3)


def snapshot(fingerprint: str) -> SourceSnapshot:
    return SourceSnapshot(source="tickets.csv", fingerprint=fingerprint, what="1 file")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def announced(fingerprint: str) -> WatchState:
    counted = Counted(fingerprint=fingerprint, n_examples=5, n_new=5)
    return with_announcement(WatchState(), counted, snapshot(fingerprint), "event")


def test_data_has_to_be_left_alone_before_it_is_read() -> None:
    first = decide(WatchState(), snapshot("a"), WATCH, at(0))
    assert (first.status, first.wait_seconds) == ("settling", 60)
    written_on = decide(first.state, snapshot("b"), WATCH, at(59))
    assert (written_on.status, written_on.wait_seconds) == ("settling", 60)
    waiting = decide(written_on.state, snapshot("b"), WATCH, at(100))
    assert (waiting.status, waiting.wait_seconds) == ("settling", 19)
    assert decide(waiting.state, snapshot("b"), WATCH, at(119)).status == "to be counted"


def test_announced_data_is_unchanged_until_it_changes() -> None:
    assert decide(announced("a"), snapshot("a"), WATCH, at(0)).status == "unchanged"
    assert decide(announced("a"), snapshot("b"), WATCH, at(0)).status == "settling"


def test_changed_and_changed_back_is_unchanged() -> None:
    away = decide(announced("a"), snapshot("b"), WATCH, at(0)).state
    back = decide(away, snapshot("a"), WATCH, at(10))
    assert back.status == "unchanged"
    assert decide(back.state, snapshot("b"), WATCH, at(60)).wait_seconds == 60


def test_too_little_is_not_counted_again_before_it_changes() -> None:
    memory = decide(announced("a"), snapshot("b"), WATCH, at(0)).state
    few = decide_by_count(memory, Counted(fingerprint="b", n_examples=7, n_new=2), WATCH)
    assert few.status == "too few"
    assert decide(few.state, snapshot("b"), WATCH, at(600)).status == "too few"
    fewer_needed = WATCH.model_copy(update={"min_new_examples": 2})
    assert decide(few.state, snapshot("b"), fewer_needed, at(600)).status == "to be counted"
    assert decide(few.state, snapshot("c"), WATCH, at(600)).status == "settling"


def test_a_file_that_was_only_touched_is_read_once() -> None:
    memory = decide(announced("a"), snapshot("b"), WATCH, at(0)).state
    same = decide_by_count(memory, Counted(fingerprint="b", n_examples=5, n_new=0), WATCH)
    assert same.status == "unchanged"
    assert decide(same.state, snapshot("b"), WATCH, at(600)).status == "unchanged"


def test_an_emptied_source_changes_nothing_that_is_known() -> None:
    memory = decide(announced("a"), snapshot("a"), WATCH, at(0)).state
    empty = decide(memory, snapshot(""), WATCH, at(1))
    assert empty.status == "empty"
    assert empty.state == memory
    assert decide(empty.state, snapshot("a"), WATCH, at(2)).status == "unchanged"


def test_a_clock_that_is_ahead_does_not_make_data_wait_for_ever() -> None:
    ahead = decide(WatchState(), snapshot("a"), WATCH, at(1_000_000)).state
    here = decide(ahead, snapshot("a"), WATCH, at(0))
    assert here.wait_seconds == 60
    assert decide(here.state, snapshot("a"), WATCH, at(60)).status == "to be counted"


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.floats(0, 100)), max_size=30))
def test_only_data_that_stayed_the_same_is_ever_read(looks: list[tuple[str, float]]) -> None:
    memory, now, since, before = WatchState(), 0.0, 0.0, ""
    for fingerprint, pause in looks:
        now += pause
        if fingerprint and fingerprint != before:
            since, before = now, fingerprint
        decision = decide(memory, snapshot(fingerprint), WATCH, at(now))
        memory = WatchState.model_validate_json(decision.state.model_dump_json())
        if decision.status == "to be counted":
            assert now - since >= WATCH.quiet_seconds - 1e-3
        elif decision.status == "settling":
            assert now - since < WATCH.quiet_seconds + 1e-3
        else:
            assert not fingerprint


def test_watch_state_fits_into_a_prefect_variable() -> None:
    memory = decide(announced("a" * 64), snapshot("b" * 64), WATCH, at(0)).state
    memory = decide_by_count(memory, Counted(fingerprint="b" * 64, n_examples=10**9, n_new=10**9), WATCH).state
    assert len(memory.model_dump_json()) < 2_000
