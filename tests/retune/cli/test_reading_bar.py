"""What shows how far `retune check` is."""

import io

import pytest
from rich.console import Console

from retune.cli import check_view
from retune.cli.check_view import ReadingBar


def show(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool, after: float) -> str:
    """What a bar writes that is told of its way."""
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=100)
    monkeypatch.setattr(check_view, "err", console)
    monkeypatch.setattr(check_view, "_SECONDS_BEFORE_A_BAR", after)
    with ReadingBar().shown() as bar:
        bar.say("reading")
        bar.read(2_500_000, 10_000_000)
        bar.read(2_500_000, None)
        bar.say("repairing")
        bar.count(1_500, 3_000)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_it_says_what_goes_on_and_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = show(monkeypatch, is_terminal=True, after=0)

    assert "repairing" in shown
    assert "1,500 of 3,000 examples" in shown
    # It is taken off again: the cursor is shown, and the line is cleared.
    assert shown.rstrip().endswith("\x1b[2K")


@pytest.mark.parametrize(("is_terminal", "after"), [(False, 0.0), (True, 3600.0)])
def test_it_stays_away_from_files_and_from_what_is_quick(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, after: float
) -> None:
    assert show(monkeypatch, is_terminal=is_terminal, after=after).strip() == ""
