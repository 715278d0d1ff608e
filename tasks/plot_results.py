"""Draw the training: interactive figures for the report, images for the artifact."""

import asyncio
import json
from pathlib import Path

import pandas as pd

from retune.files import write_bytes
from retune.results.figures import training_figures
from retune.results.static_images import figures_svg
from tasks.runtime.steps import PERSISTED, by_content, step
from tasks.runtime.values import Figures, JobResults


@step("plot", cache_policy=by_content(), **PERSISTED)
async def plot_results(results: JobResults) -> Figures:
    """Write `figures/<name>.json` for plotly, and `figures/<name>.svg`."""
    return await asyncio.to_thread(_plot, results)


def _plot(results: JobResults) -> Figures:
    table = pd.read_csv(results.metrics)
    figures = training_figures(table, json.loads(results.checkpoints.read_bytes()), n_epochs=results.n_epochs)
    directory = results.run.path("figures")
    return Figures(
        run=results.run,
        figures={name: _write(directory / f"{name}.json", figure.to_json()) for name, figure in figures.items()},
        images={name: _write(directory / f"{name}.svg", svg) for name, svg in figures_svg(figures).items()},
    )


def _write(path: Path, content: str | bytes) -> Path:
    write_bytes(path, content.encode() if isinstance(content, str) else content)
    return path
