"""Result files of fine-tuning jobs, drawn without a run: read from files, and written as a page or an image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from retune.errors import ConfigError, ResultsError
from retune.files import write_bytes, writing
from retune.results.figures import MOST_COMPARED, comparison_figures, drawn_columns, training_figures
from retune.results.metrics import parse_result_file
from retune.results.report import render_figures
from retune.results.report_figures import describe_figures
from retune.results.static_images import ImageFormat, draw_figures
from retune.training_lines.keys import JsonMapping

_MOST_BYTES = 256 * 1024 * 1024
_LONGEST_NAME = 30
_EXPECTED = (
    "Expected is the result file of a fine-tuning job, as the API gives it: CSV with a column step and some of "
    "train_loss, train_accuracy, valid_loss, valid_mean_token_accuracy, full_valid_loss, training_loss and "
    "classification/accuracy."
)


@dataclass(frozen=True, slots=True)
class JobMetrics:
    """What is to be drawn of one job.

    Attributes:
        name: What to call it.
        table: Metrics as in `TrainingMetrics.table`.
        checkpoints: As the API gives them.
        n_epochs: None where it is not known.
        notes: What was left out of the file or converted, one sentence each.
        unmeasured: Columns of the file without any value; they are not in the table.
    """

    name: str
    table: pd.DataFrame
    checkpoints: Sequence[JsonMapping] = ()
    n_epochs: int | None = None
    notes: Sequence[str] = ()
    unmeasured: Sequence[str] = ()

    @property
    def not_drawn(self) -> list[str]:
        """Columns that no figure shows."""
        return [name for name in self.table.columns if name != "step" and name not in drawn_columns(self.table)]


def read_result_files(paths: Sequence[Path]) -> list[JobMetrics]:
    """Read result files, each as a job of its own that is called by its file.

    Raises:
        ResultsError: A file can't be read, or holds nothing to draw; or they are too many to be told apart.
    """
    if len(paths) > MOST_COMPARED:
        raise ResultsError(
            f"{len(paths)} files are too many for one figure; at most {MOST_COMPARED} can be told apart.",
            hint="Draw them in several calls.",
        )
    return [replace(_read(path), name=name) for path, name in zip(paths, _names(paths), strict=True)]


def require_metrics(job: JobMetrics) -> JobMetrics:
    """Refuse a job that there is nothing to draw of.

    Raises:
        ResultsError: It has no rows, or no column that can be drawn.
    """
    if job.table.empty:
        raise ResultsError(" ".join([f"{job.name} holds no step with a metric.", *job.notes]), hint=_EXPECTED)
    if not drawn_columns(job.table):
        names = ", ".join(job.not_drawn[:12]) or "no values beside step"
        raise ResultsError(f"{job.name} has no column that can be drawn; it has {names}.", hint=_EXPECTED)
    return job


def write_plots(jobs: Sequence[JobMetrics], paths: Sequence[Path], *, dark: bool = False) -> None:
    """Draw jobs, several over each other, and write them as what the names of the files say.

    Args:
        jobs: One or more.
        paths: Ending in .html, .png, .svg or .csv: a page that moves and works without a network, an image of all
            figures, or the metrics themselves under today's names. Each is written whole or not at all.
        dark: Images in dark colours; a page follows the browser.

    Raises:
        RunDirectoryError: A file can't be written.
        ConfigError: The metrics of several jobs don't fit into one CSV file.
    """
    one = jobs[0]
    figures = (
        training_figures(one.table, one.checkpoints, n_epochs=one.n_epochs)
        if len(jobs) == 1
        else comparison_figures({job.name: job.table for job in jobs})
    )
    described = describe_figures(figures)
    titles = [f"{one.name}: {figure.title}" if len(jobs) == 1 else figure.title for figure in described]
    for path in paths:
        if path.suffix.lower() == ".html":
            title = ", ".join(job.name for job in jobs)
            content = render_figures(title, described).encode("utf-8", "replace")
        elif path.suffix.lower() == ".csv":
            if len(jobs) > 1:
                raise ConfigError(
                    f"{path} would hold the metrics of {len(jobs)} jobs.", hint="Write one CSV a job, in several calls."
                )
            content = one.table.to_csv(index=False).encode()
        else:
            image_format: ImageFormat = "svg" if path.suffix.lower() == ".svg" else "png"
            drawn = [figures[figure.name] for figure in described]
            content = draw_figures(drawn, image_format, dark=dark, titles=titles)
        with writing(path):
            write_bytes(path, content, is_private=False)


def _read(path: Path) -> JobMetrics:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ResultsError(
            f"Can't read {path}: {error.strerror}.", hint="Name the result files themselves: retune results plot FILE…"
        ) from None
    if len(content) > _MOST_BYTES:
        raise ResultsError(f"{path} has more than {_MOST_BYTES:,} bytes, more than a line a step.", hint=_EXPECTED)
    try:
        metrics = parse_result_file(content)
    except ResultsError as error:
        raise ResultsError(f"{path}: {error.message}", hint=error.hint or _EXPECTED) from None
    job = JobMetrics(str(path), metrics.table, notes=metrics.notes, unmeasured=metrics.unmeasured)
    return require_metrics(job)


def _names(paths: Sequence[Path]) -> list[str]:
    """What to call each file: its name without the ending, with its folder where two have the same."""
    stems = [path.stem for path in paths]
    if len(set(stems)) < len(stems):
        stems = [f"{path.absolute().parent.name}/{path.stem}" for path in paths]
    if len(set(stems)) < len(stems):
        stems = [f"{number}: {stem}" for number, stem in enumerate(stems, start=1)]
    return [stem if len(stem) <= _LONGEST_NAME else f"{stem[: _LONGEST_NAME - 1]}…" for stem in stems]
