"""What follows from looks that come one after the other."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from retune.data.watching.config import WatchConfig
from retune.data.watching.memory import Counted, WatchMemory, judge, judge_count, remember_announced
from retune.data.watching.sight import Sight

START = datetime(2026, 1, 1, tzinfo=UTC)
WATCH = WatchConfig(quiet_seconds=60, min_new_examples=3)


def sight(fingerprint: str) -> Sight:
    return Sight(source="tickets.csv", fingerprint=fingerprint, what="1 file")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def announced(fingerprint: str) -> WatchMemory:
    counted = Counted(fingerprint=fingerprint, n_examples=5, n_new=5)
    return remember_announced(WatchMemory(), counted, sight(fingerprint), "event")


def test_data_has_to_be_left_alone_before_it_is_read() -> None:
    first = judge(WatchMemory(), sight("a"), WATCH, at(0))
    assert (first.judgement, first.wait_seconds) == ("settling", 60)
    written_on = judge(first.memory, sight("b"), WATCH, at(59))
    assert (written_on.judgement, written_on.wait_seconds) == ("settling", 60)
    waiting = judge(written_on.memory, sight("b"), WATCH, at(100))
    assert (waiting.judgement, waiting.wait_seconds) == ("settling", 19)
    assert judge(waiting.memory, sight("b"), WATCH, at(119)).judgement == "to be counted"


def test_what_was_announced_is_unchanged_until_it_changes() -> None:
    assert judge(announced("a"), sight("a"), WATCH, at(0)).judgement == "unchanged"
    assert judge(announced("a"), sight("b"), WATCH, at(0)).judgement == "settling"


def test_changed_and_changed_back_is_unchanged() -> None:
    away = judge(announced("a"), sight("b"), WATCH, at(0)).memory
    back = judge(away, sight("a"), WATCH, at(10))
    assert back.judgement == "unchanged"
    assert judge(back.memory, sight("b"), WATCH, at(60)).wait_seconds == 60


def test_too_little_is_not_counted_again_before_it_changes() -> None:
    memory = judge(announced("a"), sight("b"), WATCH, at(0)).memory
    few = judge_count(memory, Counted(fingerprint="b", n_examples=7, n_new=2), WATCH)
    assert few.judgement == "too few"
    assert judge(few.memory, sight("b"), WATCH, at(600)).judgement == "too few"
    fewer_needed = WATCH.model_copy(update={"min_new_examples": 2})
    assert judge(few.memory, sight("b"), fewer_needed, at(600)).judgement == "to be counted"
    assert judge(few.memory, sight("c"), WATCH, at(600)).judgement == "settling"


def test_a_file_that_was_only_touched_is_read_once() -> None:
    memory = judge(announced("a"), sight("b"), WATCH, at(0)).memory
    same = judge_count(memory, Counted(fingerprint="b", n_examples=5, n_new=0), WATCH)
    assert same.judgement == "unchanged"
    assert judge(same.memory, sight("b"), WATCH, at(600)).judgement == "unchanged"


def test_an_emptied_source_changes_nothing_that_is_known() -> None:
    memory = judge(announced("a"), sight("a"), WATCH, at(0)).memory
    empty = judge(memory, sight(""), WATCH, at(1))
    assert empty.judgement == "empty"
    assert empty.memory == memory
    assert judge(empty.memory, sight("a"), WATCH, at(2)).judgement == "unchanged"


def test_a_clock_that_is_ahead_does_not_make_data_wait_for_ever() -> None:
    ahead = judge(WatchMemory(), sight("a"), WATCH, at(1_000_000)).memory
    here = judge(ahead, sight("a"), WATCH, at(0))
    assert here.wait_seconds == 60
    assert judge(here.memory, sight("a"), WATCH, at(60)).judgement == "to be counted"


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.floats(0, 100)), max_size=30))
def test_only_data_that_stayed_the_same_is_ever_read(looks: list[tuple[str, float]]) -> None:
    memory, now, since, before = WatchMemory(), 0.0, 0.0, ""
    for fingerprint, pause in looks:
        now += pause
        if fingerprint and fingerprint != before:
            since, before = now, fingerprint
        verdict = judge(memory, sight(fingerprint), WATCH, at(now))
        memory = WatchMemory.model_validate_json(verdict.memory.model_dump_json())
        if verdict.judgement == "to be counted":
            assert now - since >= WATCH.quiet_seconds - 1e-3
        elif verdict.judgement == "settling":
            assert now - since < WATCH.quiet_seconds + 1e-3
        else:
            assert not fingerprint


def test_what_is_remembered_fits_into_a_variable() -> None:
    memory = judge(announced("a" * 64), sight("b" * 64), WATCH, at(0)).memory
    memory = judge_count(memory, Counted(fingerprint="b" * 64, n_examples=10**9, n_new=10**9), WATCH).memory
    assert len(memory.model_dump_json()) < 2_000
