"""Who gets the next slot."""

import threading
from functools import partial

import pytest

from retune.server import fair_slots
from retune.server.errors import ApiError
from retune.server.fair_slots import FairSlots, Turn


class Line:
    """Callers in the order in which they got their slots."""

    def __init__(self, count: int = 1) -> None:
        self.slots = FairSlots(count)
        self.granted: list[str] = []
        self.turns: dict[str, Turn] = {}

    def request(self, *names: str) -> None:
        for name in names:
            self.turns[name] = self.slots.request(name[0], partial(self._grant, name))

    def _grant(self, name: str, _turn: Turn) -> None:
        self.granted.append(name)

    def release(self, *names: str) -> None:
        for name in names:
            self.slots.release(self.turns[name])


def test_callers_have_their_turns_one_by_one():
    line = Line()
    line.request("a1", "a2", "a3", "b1", "c1", "b2")

    for number in range(6):
        line.release(line.granted[number])

    assert line.granted == ["a1", "a2", "b1", "c1", "a3", "b2"]


def test_who_leaves_the_line_is_passed_over():
    line = Line()
    line.request("a1", "b1", "c1")

    line.slots.withdraw(line.turns["b1"])
    line.release("a1")

    assert line.granted == ["a1", "c1"]


def test_slots_that_are_free_are_given_at_once_and_no_more_of_them():
    line = Line(2)

    line.request("a1", "a2", "a3")

    assert line.granted == ["a1", "a2"]


def test_long_work_lets_others_have_its_slot(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fair_slots, "_TURN_SECONDS", 0.0)
    line = Line()
    line.request("a1")
    # It has the slot back once the other one's work is done, which is here as soon as it has it.
    line.turns["b1"] = line.slots.request("b", lambda _: None)
    with line.slots.time_sliced(line.turns["a1"], lambda: None) as checkpoint:
        line.turns["b1"].on_granted = lambda _: line.granted.append("b1")
        threading.Timer(0.05, lambda: line.release("b1")).start()
        checkpoint()
        assert line.granted == ["a1", "b1"]
        assert line.turns["a1"].is_granted


def test_a_caller_that_waits_for_too_much_is_refused_and_others_are_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fair_slots, "MAX_WAITING_PER_CALLER", 2)
    monkeypatch.setattr(fair_slots, "MAX_WAITING", 3)
    line = Line()
    line.request("a1", "a2", "a3")

    with pytest.raises(ApiError) as refused:
        line.request("a4")
    line.request("b1")
    with pytest.raises(ApiError) as overloaded:
        line.request("c1")

    assert (refused.value.status, refused.value.body["error"]["code"]) == (429, "rate_limit_exceeded")
    assert overloaded.value.status == 503
    assert {error.value.headers["retry-after"] for error in (refused, overloaded)} == {"1"}


def test_a_caller_begins_so_much_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fair_slots, "_MAX_STARTED_PER_CALLER", 1)
    line = Line(2)

    line.request("a1", "a2", "b1")

    assert line.granted == ["a1", "b1"]
    line.release("a1")
    assert line.granted == ["a1", "b1", "a2"]
