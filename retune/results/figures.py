"""The training as plotly figures: loss and accuracy by step."""

import html
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from retune.results.curves import BestCheckpoint, best_checkpoint, checkpoint_steps, smooth, smoothing_window, thin
from retune.results.theme import LIGHT, base_layout

_MOST_EPOCH_NAMES = 6
# Lines that stand for things of one kind differ by more than their colour.
_OTHER_LOOKS = (
    ("solid", "circle"),
    ("dash", "square"),
    ("dot", "triangle-up"),
    ("dashdot", "diamond"),
    ("longdash", "triangle-down"),
    ("longdashdot", "cross"),
)
# Scores often lie on each other: the later ones are thinner, so that those below stay visible at both sides.
_SCORE_WIDTHS = (5.0, 4.3, 3.6, 2.9, 2.2, 1.5)
_CLASSIFICATION = "classification/"


class Series(NamedTuple):
    """A column of metrics as a line."""

    column: str
    name: str
    color: str
    dash: str = "solid"
    symbol: str = ""
    width: float = 2


_LOSS = (
    Series("train_loss", "train", LIGHT.train),
    Series("valid_loss", "validation", LIGHT.validation),
    Series("full_valid_loss", "full validation", LIGHT.full_validation),
)
_TOKEN_ACCURACY = (
    Series("train_mean_token_accuracy", "train", LIGHT.train),
    Series("valid_mean_token_accuracy", "validation", LIGHT.validation),
    Series("full_valid_mean_token_accuracy", "full validation", LIGHT.full_validation),
)
_SEQUENCE_ACCURACY = (
    Series("train_sequence_accuracy", "train", LIGHT.train),
    Series("valid_sequence_accuracy", "validation", LIGHT.validation),
)
# Name, title of the axis, and what is drawn there.
_FIGURES = (
    ("loss", "loss (nats a token)", _LOSS),
    ("token_accuracy", "token accuracy (%)", _TOKEN_ACCURACY),
    ("sequence_accuracy", "sequence accuracy (%)", _SEQUENCE_ACCURACY),
)
MOST_COMPARED = len(LIGHT.series)


def training_figures(
    table: pd.DataFrame, checkpoints: Sequence[Mapping[str, object]], *, n_epochs: int | None = None
) -> dict[str, go.Figure]:
    """Draw what the metrics hold, in light colours.

    Args:
        table: Metrics as in `TrainingMetrics.table`.
        checkpoints: As the API gives them; they are marked, the best one by name.
        n_epochs: The job's number of epochs; their ends are marked where it is known.

    Returns:
        `loss` (nats a token) and `token_accuracy` (%) by step; `sequence_accuracy` and `classification` where a
        legacy job measured them. A figure without any point is left out.
    """
    best = best_checkpoint(table, checkpoints)
    steps = checkpoint_steps(checkpoints)
    classification = [
        Series(name, classification_name(name), LIGHT.series[number % 6], *_OTHER_LOOKS[number % 6], width)
        for number, (name, width) in enumerate(
            zip(filter(_is_score, table.columns), cycle(_SCORE_WIDTHS), strict=False)
        )
    ]
    drawn = {}
    for name, title, series in _FIGURES:
        drawn[name] = figure = _figure([(table, one) for one in series], title)
        if figure is not None:
            _mark_checkpoints(figure, table, [one.column for one in series], steps, best)
    drawn["classification"] = _figure([(table, one) for one in classification], "score on validation (%)")
    figures = {name: figure for name, figure in drawn.items() if figure is not None}
    for figure in figures.values():
        _mark_epochs(figure, int(table["step"].max()), n_epochs)
    return figures


def comparison_figures(tables: Mapping[str, pd.DataFrame]) -> dict[str, go.Figure]:
    """Draw several jobs over each other, in light colours: a colour and a marker for each.

    The dash says what was measured; where all lines are of one kind, it differs by job too.

    Args:
        tables: Metrics as in `TrainingMetrics.table`, by what to call the job; at most `MOST_COMPARED`.

    Returns:
        As `training_figures`, with a figure `classification/<score>` for each score of legacy jobs.
    """
    scores = dict.fromkeys(name for table in tables.values() for name in table.columns if _is_score(name))
    kinds = [
        *_FIGURES,
        *((name, f"{classification_name(name)} on validation (%)", (Series(name, "", ""),)) for name in scores),
    ]
    figures = {}
    for name, title, series in kinds:
        jobs = [
            (job, table, color, symbol)
            for (job, table), color, (_, symbol) in zip(_escaped(tables), LIGHT.series, _OTHER_LOOKS, strict=False)
            if any(one.column in table.columns for one in series)
        ]
        kinds_measured = [one for one in series if any(one.column in table.columns for _, table, _, _ in jobs)]
        lines = [
            (table, Series(one.column, f"{job}: {one.name}" if one.name else job, color, _OTHER_LOOKS[look][0], symbol))
            for number, (job, table, color, symbol) in enumerate(jobs)
            for kind, one in enumerate(kinds_measured)
            for look in [kind if len(kinds_measured) > 1 else number]
        ]
        if figure := _figure(lines, title, is_comparison=True):
            figures[name] = figure
    return figures


def drawn_columns(table: pd.DataFrame) -> list[str]:
    """Columns that there is a figure for."""
    known = {one.column for _, _, series in _FIGURES for one in series}
    return [name for name in table.columns if name in known or _is_score(name)]


def _is_score(column: str) -> bool:
    return column.startswith(_CLASSIFICATION)


def _escaped(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, pd.DataFrame]]:
    # Plotly reads text as markup.
    return [(html.escape(job, quote=False), table) for job, table in tables.items()]


def classification_name(column: str) -> str:
    """A legacy column as people read it: `classification/weighted_f1_score` is `weighted F1`."""
    words = column.removeprefix(_CLASSIFICATION).replace("_score", "").replace("_", " ")
    return {"f1.0": "F1", "auroc": "AUROC", "auprc": "AUPRC"}.get(words, re.sub(r"\bf(\d)", r"F\1", words))


def _figure(
    lines: Sequence[tuple[pd.DataFrame, Series]], y_title: str, *, is_comparison: bool = False
) -> go.Figure | None:
    measured = [(table, one) for table, one in lines if one.column in table.columns and table[one.column].notna().any()]
    if not measured:
        return None
    figure = go.Figure(layout=base_layout())
    for table, one in measured:
        _draw_series(figure, table, one, is_faint_drawn=not is_comparison)
    last_step = max(table["step"].max() for table, _ in measured)
    figure.update_layout(height=400, hovermode="x unified", showlegend=True)
    # On a short axis plotly would put ticks between two steps.
    figure.update_xaxes(title_text="step", rangemode="tozero", dtick=1 if last_step <= 10 else None)
    figure.update_yaxes(title_text=y_title, rangemode="tozero")
    if "%" in y_title:
        lowest = _lowest_percent(figure)
        # An axis that does not begin at 0 makes differences look larger than they are, so it has to say so.
        title = f"{y_title}, from {lowest:.0%}" if lowest else y_title
        figure.update_yaxes(title_text=title, tickformat=".0%", hoverformat=".1%", range=[lowest, 1.04 - 0.04 * lowest])
    else:
        low, high = min(0.0, 1.1 * _extreme(min, figure)), max(0.0, 1.1 * _extreme(max, figure))
        figure.update_yaxes(range=[low, high if low < high else 1.0])
    return figure


def _lowest_percent(figure: go.Figure) -> float:
    """Where an axis of percent begins: a twentieth below the lowest point, faint lines among them."""
    lowest = min(value for trace in figure.data for value in trace.y)
    return float(max(0, math.floor(20 * lowest - 0.4)) / 20)


def _extreme(choose: Callable[[Iterable[float]], float], figure: go.Figure) -> float:
    """Lowest or highest value that is not faint: the first raw steps alone would flatten the rest."""
    return float(choose(value for trace in figure.data if trace.opacity is None for value in trace.y))


def _draw_series(figure: go.Figure, table: pd.DataFrame, series: Series, *, is_faint_drawn: bool) -> None:
    points = table[["step", series.column]].dropna()
    steps, values = points["step"].to_numpy(float), points[series.column].to_numpy(float)
    window = smoothing_window(len(values))
    if window == 1:
        symbol = series.symbol or ("diamond" if series.column.startswith("full_") else "circle")
        marker = {"color": series.color, "size": 6 + series.width / 2, "symbol": symbol}
        mode = "lines+markers" if len(values) > 1 else "markers"
        line = {"color": series.color, "width": series.width, "dash": series.dash}
        figure.add_scatter(**_points(steps, values), name=series.name, mode=mode, line=line, marker=marker)
        return
    if is_faint_drawn:
        figure.add_scatter(
            **_points(*thin(steps, values)),
            name=f"{series.name}, each step",
            mode="lines",
            line={"color": series.color, "width": 1},
            opacity=0.35,
            legendgroup=series.name,
            hoverinfo="skip",
        )
    figure.add_scatter(
        **_points(*thin(steps, smooth(values, window))),
        name=f"{series.name} (mean of {window} points)",
        mode="lines",
        line={"color": series.color, "width": 2.5, "dash": series.dash},
        legendgroup=series.name,
    )


def _points(steps: Any, values: Any) -> dict[str, list[float]]:
    # Plain rounded numbers are smaller in JSON than plotly's base64 arrays, and people can read them.
    return {"x": [int(step) for step in steps], "y": [float(f"{value:.5g}") for value in values]}


def _mark_checkpoints(
    figure: go.Figure, table: pd.DataFrame, columns: Sequence[str], steps: Sequence[int], best: BestCheckpoint | None
) -> None:
    at = {step: value for step in steps if (value := _value_at(table, columns, step)) is not None}
    others = [step for step in at if best is None or step != best.step]
    if others:
        figure.add_scatter(
            x=others,
            y=[at[step] for step in others],
            name="checkpoint",
            mode="markers",
            marker={
                "symbol": "circle-open",
                "size": 12,
                "color": LIGHT.ink,
                "line": {"width": 1.5, "color": LIGHT.ink},
            },
            hoverinfo="skip",
        )
    if best is not None and best.step in at:
        figure.add_scatter(
            x=[best.step],
            y=[at[best.step]],
            name=f"best: step {best.step:,}",
            mode="markers",
            marker={"symbol": "star", "size": 15, "color": LIGHT.ink},
            hovertemplate=f"best checkpoint<br>{best.metric} {best.value:.4g}<extra></extra>",
        )


def _value_at(table: pd.DataFrame, columns: Sequence[str], step: int) -> float | None:
    """The most telling value at a step: that of full validation, else validation, else training."""
    row = table[table["step"] == step]
    for column in reversed(columns):
        if column in row.columns and len(values := row[column].dropna()):
            return float(values.iloc[0])
    return None


def _mark_epochs(figure: go.Figure, last_step: int, n_epochs: int | None) -> None:
    # Batches run on across epochs, so an epoch may end between two steps.
    ends = {epoch: last_step * epoch / n_epochs for epoch in range(1, n_epochs + 1)} if n_epochs else {}
    every = -(-len(ends) // _MOST_EPOCH_NAMES) if ends else 1
    line = {"color": LIGHT.mark, "width": 1, "dash": "dot"}
    if ends:
        # The names are above the lines' area, where they cover nothing; the legend makes room.
        figure.update_layout(legend_y=1.08)
    for epoch, step in ends.items():
        figure.add_shape(type="line", x0=step, x1=step, y0=0, y1=1, yref="paper", line=line, layer="below")
        if epoch % every == 0:
            figure.add_annotation(
                x=step,
                y=1,
                yref="paper",
                yanchor="bottom",
                xanchor="right",
                text=f"epoch {epoch}",
                showarrow=False,
                font={"size": 11, "color": LIGHT.muted},
            )
