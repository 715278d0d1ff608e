"""`retune results`: draw result files of fine-tuning jobs of any provider."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retune.cli.terminal import print_line, print_quietly, visible
from retune.errors import ConfigError

if TYPE_CHECKING:
    from retune.results.plots import JobMetrics

app = typer.Typer(no_args_is_help=True, help="Result files of fine-tuning jobs.")

_FORMATS = (".html", ".png", ".svg", ".csv")
_MOST_NAMED = 20

ResultFiles = Annotated[
    list[Path], typer.Argument(help="CSV as the API gives it, or base64 of it; six at most.", metavar="FILE...")
]
Output = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        help="Where to write: a name that ends in .html (interactive, one file), .png, .svg, or .csv (the metrics). "
        "May be given several times; default: an .html file in this directory.",
        metavar="FILE",
    ),
]
Dark = Annotated[bool, typer.Option("--dark", help="Images in dark colours; a page follows the browser.")]


@app.callback()
def describe() -> None:
    """Result files of fine-tuning jobs."""


@app.command()
def plot(files: ResultFiles, output: Output = None, dark: Dark = False) -> None:
    """Draw loss, accuracy and the scores of classification jobs; several files over each other."""
    outputs = choose_outputs(output, files[0].stem)
    sources = {path.resolve() for path in files}
    for path in outputs:
        if path.resolve() in sources:
            raise ConfigError(f"{path} is one of the files to draw.", hint="Name another file with --output.")
    from retune.results.plots import read_result_files  # noqa: PLC0415 - pandas takes half a second to import

    draw(read_result_files(files), outputs, dark=dark)


def choose_outputs(output: list[Path] | None, name: str) -> list[Path]:
    """The files to write.

    Raises:
        ConfigError: A name has an unknown ending.
    """
    for path in output or []:
        if path.suffix.lower() not in _FORMATS:
            raise ConfigError(
                f"--output {path} must end in one of {', '.join(_FORMATS)}.", hint=f"For example: --output {name}.png"
            )
    return output or [Path(f"{name}.html")]


def draw(jobs: "list[JobMetrics]", outputs: list[Path], *, dark: bool) -> None:
    """Draw jobs, and print what was read and written."""
    from retune.results.plots import write_plots  # noqa: PLC0415 - see above

    for job in jobs:
        steps = len(job.table)
        print_line(f"{visible(job.name)}: {steps:,} step{'' if steps == 1 else 's'}")
        for note in job.notes:
            print_quietly(f"  {visible(note)}")
        _print_columns("not drawn", job.not_drawn)
        _print_columns("without a value", job.unmeasured)
    write_plots(jobs, outputs, dark=dark)
    for path in outputs:
        print_line(f"wrote {visible(str(path))}")


def _print_columns(what: str, names: Sequence[str]) -> None:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    if names:
        print_quietly(f"  {what}: {visible(', '.join(names[:_MOST_NAMED]))}{more}")
