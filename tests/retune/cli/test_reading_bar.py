"""What shows how far `retune check` is."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console
from waiting import wait_for

from retune.cli import check_view, terminal
from retune.cli.check_view import ReadingBar


def _until_something_is_shown(console: Console) -> None:
    assert isinstance(console.file, io.StringIO)
    wait_for(console.file.getvalue, "something to be shown")


def show(
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_terminal: bool,
    after: float,
    wait: Callable[[Console], None] = lambda _: None,
) -> str:
    """What a bar writes that is told of its way."""
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=100)
    monkeypatch.setattr(check_view, "err", console)
    monkeypatch.setattr(terminal, "err", console)
    with ReadingBar(seconds_before_bar=after, seconds_between_lines=after or 3600.0).shown() as bar:
        bar.say("reading")
        bar.read(2_500_000, 10_000_000)
        bar.read(2_500_000, None)
        bar.say("repairing")
        bar.count(1_500, 3_000)
        wait(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_bar_shows_the_step_and_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = show(monkeypatch, is_terminal=True, after=0, wait=_until_something_is_shown)

    assert "repairing" in shown
    assert "1,500 of 3,000 examples" in shown
    # It is taken off again: the cursor is shown, and the line is cleared.
    assert shown.rstrip().endswith("\x1b[2K")


def test_where_there_is_no_terminal_a_line_comes_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = show(monkeypatch, is_terminal=False, after=0.05, wait=_until_something_is_shown)

    assert shown.splitlines()[0] == "repairing 1,500 of 3,000 examples"


@pytest.mark.parametrize(("is_terminal", "after"), [(False, 0.0), (True, 3600.0)])
def test_nothing_is_shown_for_quick_work_or_in_files(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, after: float
) -> None:
    assert show(monkeypatch, is_terminal=is_terminal, after=after).strip() == ""
