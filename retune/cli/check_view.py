"""What `retune check` shows: progress while it reads, then everything that it found."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from retune.cli.terminal import err, out, print_quietly, print_unfolded, visible
from retune.redaction.masking import MOST_NAMED, masked

if TYPE_CHECKING:
    from retune.check_result import CheckResult, FixResult, TokenBin
    from retune.check_source import CheckProgress
    from retune.data.dataset_checks.report import LabelFacts
    from retune.data.problems.problems import ProblemGroup
    from retune.data.sources.blocks import SourceFile

_FIELD_WIDTH = 11
_BAR_WIDTH = 30
_EIGHTHS = " ▏▎▍▌▋▊▉█"
SHOWN_PLACES = 3
"""Of each kind of problem."""

_SIGNS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "note": ("·", "dim")}
_SHOWN_FILES = 3
_SHOWN_UNREAD = 8
_UNREAD_FILES = {"file_not_read", "other_file"}
_SHOWN_COLUMNS = 30
_LONGEST_LABEL_SHOWN = 60


class ReadingBar:
    """Progress of what may take a while, on stderr: a bar on a terminal, elsewhere a line every 30 seconds.

    Both are drawn by a clock, so they stay alive while the work reports nothing.

    Args:
        seconds_before_bar: The bar appears after this time.
        seconds_between_lines: How often a line is written.
    """

    def __init__(self, *, seconds_before_bar: float = 1.0, seconds_between_lines: float = 30.0) -> None:
        self._seconds_before_bar = seconds_before_bar
        self._seconds_between_lines = seconds_between_lines
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._bar = self._bars.add_task("reading", total=None, amount="")
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._show_by_the_clock, name="progress", daemon=True)

    @contextmanager
    def shown(self) -> Iterator["ReadingBar"]:
        """Remove the bar from the terminal when the block ends."""
        self._clock.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._clock.join()
            self._bars.stop()

    def _show_by_the_clock(self) -> None:
        if err.is_terminal:
            if not self._ended.wait(self._seconds_before_bar):
                self._bars.start()
            return
        while not self._ended.wait(self._seconds_between_lines):
            task = self._bars.tasks[self._bar]
            print_quietly(f"{task.description} {task.fields['amount']}".rstrip())

    def show(self, progress: "CheckProgress") -> None:
        """Show how far a check is."""
        if not progress.done:
            self.say(progress.step)
        elif progress.step == "repairing":
            self.count(progress.done, progress.total or progress.done)
        else:
            self.read(progress.done, progress.total)

    def read(self, done: int, total: int | None) -> None:
        """Show how many bytes of the source have been read."""
        of_all = "" if total is None else f" of {_describe_bytes(total)}"
        self._show(done, total, f"{_describe_bytes(done)}{of_all}")

    def count(self, done: int, total: int, activity: str | None = None) -> None:
        """Show how many examples are done, and what is being done to them, where that has changed."""
        if activity is not None:
            self._bars.update(self._bar, description=activity)
        self._show(done, total, f"{done:,} of {total:,} examples")

    def say(self, activity: str) -> None:
        """Show what is being done, before there are figures."""
        self._bars.reset(self._bar, description=activity, total=None, amount="")
        self._show(0, None, "")

    def _show(self, done: int, total: int | None, amount: str) -> None:
        self._bars.update(self._bar, completed=done, total=total, amount=amount)


def show_result(result: "CheckResult") -> None:
    """Show what was read, what it will cost, and what is wrong with it."""
    out.print(Text(_one_line(result.source), style="bold"), soft_wrap=True)
    _show_fields(
        [
            ("read", f"{_count(result.n_examples, 'example')} from {_describe_files(result.files)}"),
            ("not read", _describe_unread(result.groups)),
            ("shape", f"{result.shape}; for the method {result.method}"),
            ("not used", _describe_unused(result.unused)),
            ("tokens", _describe_tokens(result)),
        ]
    )
    for line in _draw_histogram(result.token_histogram):
        _show_fields([("", line)])
    _show_fields(
        [
            ("labels", "" if result.labels is None else _describe_labels(result.labels, result.n_examples)),
            ("split", _describe_splits(result)),
            ("cost", _describe_cost(result)),
            ("dates", _describe_dates(result)),
            *(("not checked", f"{name}: {why}") for name, why in _not_applied(result)),
        ]
    )
    if result.groups:
        out.print()
        print_unfolded(_problem_table(result.groups))


def show_fix(fix: "FixResult") -> None:
    """Show what `--fix` changed."""
    out.print(Text(f"Wrote {_one_line(str(fix.path))}", style="bold"), soft_wrap=True)
    done = [f"{_count(number, noun)} {what}" for noun, what, number in fix.summary()]
    _show_fields(
        [
            ("examples", f"{fix.n_written:,} of {fix.n_read:,}"),
            ("changes", ", ".join(done) or "none: there is nothing that a safe repair fixes"),
            *((name, f"in a file of its own: {path}") for name, path in fix.held_out.items()),
            ("listed in", str(fix.changes)),
        ]
    )
    out.print()


def show_conclusion(verdict: str, advice: Sequence[str], *, style: str) -> None:
    """The last lines: how it came out, and what to do next."""
    out.print()
    out.print(Text(visible(verdict), style=style), soft_wrap=True)
    for line in advice:
        out.print(Text.assemble(("→ ", "bold"), visible(line)), soft_wrap=True)


def _show_fields(fields: Iterable[tuple[str, str]]) -> None:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_FIELD_WIDTH, style="dim")
    grid.add_column(overflow="fold")
    shown = [(name, value) for name, value in fields if value]
    for name, value in shown:
        grid.add_row(Text(name), Text(_one_line(value)))
    if shown:
        print_unfolded(grid)


def _problem_table(groups: Sequence["ProblemGroup"]) -> Table:
    """A row of kind, level and count for each kind, and below it the first places and the way to fix it."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for group in groups:
        sign, style = _SIGNS[group.level]
        heading = Text.assemble((group.kind, "bold"), (f"  {group.level}", style))
        table.add_row(Text(sign, style=style), Text(f"{group.count:,}", style="bold"), heading)
        for problem in group.first[:SHOWN_PLACES]:
            table.add_row("", "", Text(_one_line(f"{problem.location}: {problem.message}")))
        more = group.count - len(group.first[:SHOWN_PLACES])
        if more:
            table.add_row("", "", Text(f"and {more:,} more", style="dim"))
        table.add_row("", "", Text(f"→ {group.hint}", style="cyan"))
    return table


def _describe_files(files: Sequence["SourceFile"]) -> str:
    first = files[0]
    size = f", {_describe_bytes(first.bytes)}" if first.bytes is not None else ""
    if len(files) == 1:
        return f"{first.format.upper()}{size}"
    sizes = [file.bytes for file in files]
    size = "" if None in sizes else f", {_describe_bytes(sum(size or 0 for size in sizes))}"
    names = ", ".join(_describe_file(file) for file in files[:_SHOWN_FILES])
    more = len(files) - _SHOWN_FILES
    return f"{len(files)} files{size}: {names}{f' and {more:,} more' if more > 0 else ''}"


def _describe_file(file: "SourceFile") -> str:
    name = Path(file.name).name
    return name if file.split is None else f"{name} ({file.split})"


def _describe_unread(groups: Sequence["ProblemGroup"]) -> str:
    unread = [group for group in groups if group.kind in _UNREAD_FILES]
    names = [Path(problem.file or "").name for group in unread for problem in group.first][:_SHOWN_UNREAD]
    more = sum(group.count for group in unread) - len(names)
    return f"{', '.join(names)}{f' and {more:,} more' if more > 0 else ''}"


def _describe_bytes(size: int) -> str:
    for unit, divisor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= divisor:
            return f"{size / divisor:,.1f} {unit}"
    return f"{size} bytes"


def _describe_tokens(result: "CheckResult") -> str:
    tokens = result.tokens
    if tokens is None or not tokens.total:
        return ""
    return (
        f"{'about ' if tokens.is_estimate else ''}{tokens.total:,} ({tokens.encoding}); per example {tokens.minimum:,} "
        f"at least, {tokens.median:,.0f} median, {tokens.p95:,.0f} at 95 %, {tokens.maximum:,} at most"
    )


def _draw_histogram(histogram: "Sequence[TokenBin]") -> Iterator[str]:
    most = max((one.examples for one in histogram), default=0)
    width = max((len(f"{one.at_most:,}") for one in histogram), default=0)
    for one in histogram:
        eighths = -(-one.examples * _BAR_WIDTH * 8 // most) if most else 0
        bar = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
        yield f"≤ {one.at_most:>{width},}  {bar}{' ' if bar else ''}{one.examples:,}"


def _describe_labels(labels: "LabelFacts", n_examples: int) -> str:
    ranked = list(labels.counts.items())
    (most, n_most), (least, n_least) = ranked[0], ranked[-1]
    once = f"; {len(labels.seen_once):,} seen once" if labels.seen_once else ""
    what = "labels in lists, judged as sets," if labels.are_lists else "different answers"
    return (
        f"{len(labels.counts):,} {what} in {n_examples:,}, from {_shorten(most)} ({n_most:,} times) "
        f"to {_shorten(least)} ({n_least:,}){once}"
    )


def _describe_unused(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_COLUMNS
    at_least = "at least " if len(names) == MOST_NAMED else ""
    return ", ".join(map(masked, names[:_SHOWN_COLUMNS])) + (f" and {at_least}{more} more" if more > 0 else "")


def _describe_splits(result: "CheckResult") -> str:
    if result.splits is None:
        return f"can't be split: {result.not_applied.get('splits', 'the problems below say why')}"
    from retune.data.splits.origins import describe_splits  # noqa: PLC0415 - slow to import; loaded already

    return describe_splits(result.splits, result.split_origins or {})


def _describe_cost(result: "CheckResult") -> str:
    from retune.data.cost.estimate import describe_cost, format_usd  # noqa: PLC0415 - as above

    if result.cost is None:
        return "nothing can be trained"
    amount = f"about {format_usd(result.cost.usd)}: " if result.cost.usd else ""
    return f"{amount}{describe_cost(result.cost)}"


def _describe_dates(result: "CheckResult") -> str:
    """When the provider ends the base model; empty for providers that publish no dates."""
    from retune.data.cost.base_models import provider_dates  # noqa: PLC0415 - as above
    from retune.data.cost.model_dates import describe_dates  # noqa: PLC0415 - as above

    if result.dates is None:
        return "not known" if provider_dates(result.provider) else ""
    return describe_dates(result.dates, result.today)


def _not_applied(result: "CheckResult") -> Iterator[tuple[str, str]]:
    """Checks that could not be applied; those that only wait for the splits are shown with the splits."""
    for name, why in result.not_applied.items():
        if result.splits is not None or name not in {"splits", "cost"}:
            yield name, why


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL_SHOWN else f"{text[: _LONGEST_LABEL_SHOWN - 1]}…"


def _one_line(text: str) -> str:
    return visible(text).replace("\n", "\\n").replace("\t", " ")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
