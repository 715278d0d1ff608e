"""What `retune run` shows while it runs: a line for each finished step, and a bar for the one that takes long."""

import logging
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from retune.cli.terminal import out, print_fields, print_unfolded, visible

if TYPE_CHECKING:
    from retune.config import ProviderConfig, RetrainConfig
    from retune.provider.endpoint import Endpoint
    from retune.results.manifest import EvaluationFacts, RunManifest

_STEP_WIDTH = 9
_SHOWN_FIGURES = {"train_loss": "loss", "valid_loss": "validation loss"}


class _WithTotal(ProgressColumn):
    """A column that is there only once it is known how much there is to do."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        return self._column.render(task) if task.total is not None else Text()


class _Figures(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get("figures", "")), style="cyan", no_wrap=True, overflow="ellipsis")


class RunView(logging.Handler):
    """Listens to the log records of the flow and shows those that carry a step or its progress.

    Records without those fields are for Prefect's log, not for the terminal.
    """

    def __init__(self) -> None:
        super().__init__(level=logging.INFO)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn(f"{{task.description:<{_STEP_WIDTH}}}"),
            _WithTotal(BarColumn(bar_width=20)),
            _WithTotal(MofNCompleteColumn()),
            _WithTotal(TimeRemainingColumn(compact=True)),
            _Figures(),
            console=out,
            transient=True,
        )
        self._bar = self._bars.add_task("starting", total=None)
        self._figures: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        fields: Mapping[str, Any] = record.__dict__
        if "summary" in fields:
            self.show_step(fields["step"], fields["summary"], fields["seconds"])
        elif "done" in fields:
            self._show_progress(fields)
        elif record.levelno >= logging.WARNING and fields.get("user_facing"):
            self.warn(record.getMessage())

    def warn(self, text: str) -> None:
        """Show what people should know of; also called from threads."""
        self._bars.console.print(Text.assemble(("! ", "yellow"), text))

    def say(self, activity: str) -> None:
        """Show that something is going on that has no figures yet."""
        # A new one: Rich keeps the total of one that is reset without a total.
        self._bars.remove_task(self._bar)
        self._bar = self._bars.add_task(activity, total=None)

    def show_step(self, step: str, summary: str, seconds: float) -> None:
        """Show a finished step."""
        took = f"{seconds:,.1f} s" if seconds >= 0.05 else ""
        if not self._bars.console.is_terminal:
            # Piped, a step is one line, however long.
            parts = ("✓", f"{step:<{_STEP_WIDTH}}", summary, took)
            self._bars.console.print(Text(" ".join(filter(None, parts))), soft_wrap=True)
            return
        line = Table.grid(expand=True, padding=(0, 1))
        line.add_column(width=1)
        line.add_column(width=_STEP_WIDTH)
        line.add_column(ratio=1)
        line.add_column(justify="right", style="dim", no_wrap=True)
        line.add_row(Text("✓", style="green"), Text(step, style="bold"), Text(summary), took)
        self._bars.console.print(line)
        self.say("")

    def _show_progress(self, fields: Mapping[str, Any]) -> None:
        figures: Mapping[str, float] = fields["figures"]
        self._figures.update(figures)
        shown = "  ".join(
            f"{label} {self._figures[name]:.3f}" for name, label in _SHOWN_FIGURES.items() if name in self._figures
        )
        if not figures:
            shown = fields["unit"]
            if fields["total"] is None:
                shown = f"{fields['done']:,} {shown}"
        self._bars.update(
            self._bar, description=fields["step"], completed=fields["done"], total=fields["total"], figures=shown
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the bar on the terminal while the block runs."""
        with self._bars:
            yield

    @contextmanager
    def listening(self, *loggers: str) -> Iterator[None]:
        """Show records of these loggers while the block runs. Prefect drops handlers that were there before it."""
        targets = [logging.getLogger(name) for name in loggers]
        for target in targets:
            target.addHandler(self)
        try:
            yield
        finally:
            for target in targets:
                target.removeHandler(self)

    def show_header(self, config: "RetrainConfig", endpoint: "Endpoint | None") -> None:
        """Show what is about to happen, and who trains."""
        who = (
            f"{endpoint.base_url} (named by {endpoint.chosen_by})"
            if endpoint
            else "Retune's own server on this machine"
        )
        self._bars.console.print(Text.assemble(("Retune  ", "bold"), f"{config.data.source} → {config.training.model}"))
        from retune.data.cost.model_dates import describe_dates, find_dates, utc_today  # noqa: PLC0415 - loads Arrow

        dates = find_dates(config.training.model, endpoint.kind) if endpoint else None
        lifetime = describe_dates(dates, utc_today()) if dates else None
        print_fields({"trains": who, "dates": lifetime}, to=self._bars.console)
        self.say("starting Prefect" if endpoint else "starting Prefect and the server")

    def show_address(self, url: str) -> None:
        """Show where the run can be watched."""
        print_fields({"watch": url}, to=self._bars.console, width=len("trains"))


def show_result(manifest: "RunManifest") -> None:
    """Show the models side by side, and what to do next."""
    if manifest.evaluation:
        out.print()
        print_unfolded(_comparison(manifest.evaluation))
        for reference in manifest.evaluation.references:
            out.print(Text(reference.sentence))
        for note in manifest.evaluation.notes:
            out.print(Text(visible(note)))
    out.print()
    print_fields(
        {
            "model": manifest.fine_tuned_model,
            "talk to it": chat_command(manifest.fine_tuned_model, manifest.config.provider),
            "report": _near(manifest.report),
        }
    )


def chat_command(model: str, provider: "ProviderConfig") -> str:
    """The command that talks to a model of this provider.

    It names the address where `retune chat` would not find it by itself: neither in OPENAI_BASE_URL, nor as the local
    server, which it starts. Where `retune` is not on the PATH, it names the file.
    """
    is_named = provider.base_url is not None and not provider.is_embedded
    program = "retune" if shutil.which("retune") else _near(Path(sys.argv[0]))
    return shlex.join([program, "chat", model, *(["--base-url", str(provider.base_url)] if is_named else [])])


def _comparison(evaluation: "EvaluationFacts") -> Table:
    scores = evaluation.fine_tuned
    table = Table(
        title=f"{scores.n:,} held-out examples",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    table.add_column("")
    for title in ("base", "fine-tuned", "difference"):
        table.add_column(title, justify="right")
    for row in evaluation.comparison:
        style = {True: "green", False: "red", None: ""}[row.better]
        difference = Text(row.shown("difference"), style=style)
        table.add_row(Text(visible(row.title)), row.shown("base"), row.shown("fine_tuned"), difference)
    return table


def _near(path: Path) -> str:
    """A path as short as it can be copied."""
    whole = path.absolute()
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else str(whole)
