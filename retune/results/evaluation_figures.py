"""The evaluation as plotly figures: both models beside each other, and what is taken for what."""

import html
from collections.abc import Sequence
from typing import Literal

import plotly.graph_objects as go

from retune.evaluation.comparison import ComparisonRow
from retune.evaluation.correctness import detect_task
from retune.evaluation.examples import Answer
from retune.evaluation.label_sets import label_set_scores
from retune.evaluation.labels import Confusion, LabelColumn, LabelScore, confusion, label_scores
from retune.evaluation.scorers import label_columns
from retune.results.theme import LIGHT, base_layout

_MOST_LABELS_IN_A_MATRIX = 30
_WORST_LABELS = 20
_MOST_COLUMNS = 4
_LONGEST_LABEL = 36
_Side = Literal["base", "fine_tuned"]
# Thickness of a bar, of the 1 between two scores.
_BAR = 0.36


def evaluation_figures(rows: Sequence[ComparisonRow], fine_tuned_answers: Sequence[Answer]) -> dict[str, go.Figure]:
    """Draw the evaluation, in light colours.

    Args:
        rows: Both models' scores, as `compare` gives them.
        fine_tuned_answers: The fine-tuned model's answers.

    Returns:
        `scores`: fractions of both models as bars, with their 95 % intervals. `labels.<field>`, for labels and JSON
        fields that repeat: a confusion matrix of the fine-tuned model, or the F1 of its 20 worst labels where there are
        more than 30, or where answers are lists of labels.
    """
    figures = {}
    if quality := [row for row in rows if row.unit == "fraction"]:
        figures["scores"] = _scores_figure(quality)
    for column in label_columns(fine_tuned_answers)[:_MOST_COLUMNS]:
        figures[f"labels.{column.name}"] = _labels_figure(column)
    if detect_task(fine_tuned_answers) == "labels":
        scores = label_set_scores(fine_tuned_answers)
        figures["labels.answer"] = _worst_labels_figure(sorted(scores, key=lambda score: score.f1)[:_WORST_LABELS])
    return figures


def _scores_figure(rows: Sequence[ComparisonRow]) -> go.Figure:
    figure = go.Figure(layout=base_layout())
    _add_scores(figure, rows, "base model", LIGHT.base, "base")
    _add_scores(figure, rows, "fine-tuned model", LIGHT.fine_tuned, "fine_tuned")
    figure.update_layout(height=110 + 56 * len(rows))
    # Room right of 100 % for the bars' own figures.
    figure.update_xaxes(range=[0, 1.25], tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1], title_text="score (%)")
    names = [_shown(row.title) for row in rows]
    figure.update_yaxes(
        tickvals=[*range(len(rows))], ticktext=names, autorange="reversed", showgrid=False, zeroline=False
    )
    return figure


def _add_scores(figure: go.Figure, rows: Sequence[ComparisonRow], name: str, color: str, side: _Side) -> None:
    """One model's bars with their intervals, and its figures."""
    offset = -_BAR if side == "base" else 0.0
    positions = range(len(rows))
    values = [getattr(row, side) or 0 for row in rows]
    ends = [getattr(row, f"{side}_interval") or (value, value) for row, value in zip(rows, values, strict=True)]
    figure.add_bar(
        x=values,
        y=[*positions],
        orientation="h",
        offset=offset,
        width=_BAR * 0.92,
        name=name,
        marker={"color": color, "line": {"width": 0}},
        error_x={
            "array": [high - value for value, (_, high) in zip(values, ends, strict=True)],
            "arrayminus": [value - low for value, (low, _) in zip(values, ends, strict=True)],
            "thickness": 1.5,
            "width": 4,
            "color": LIGHT.ink,
        },
        text=[row.shown(side) for row in rows],
        textposition="none",
        hovertemplate="%{text}<extra>" + name + "</extra>",
    )
    # Right of the interval: a bar's own text would lie on its line.
    figure.add_scatter(
        x=[max(value, high) for value, (_, high) in zip(values, ends, strict=True)],
        y=[position + offset + _BAR / 2 for position in positions],
        mode="text",
        text=[f" {getattr(row, f'{side}_text')}" for row in rows],
        textposition="middle right",
        cliponaxis=False,
        showlegend=False,
        hoverinfo="skip",
    )


def _labels_figure(column: LabelColumn) -> go.Figure:
    matrix = confusion(column)
    if len(matrix.labels) <= _MOST_LABELS_IN_A_MATRIX:
        return _confusion_figure(matrix)
    return _worst_labels_figure(sorted(label_scores(column), key=lambda score: score.f1)[:_WORST_LABELS])


def _confusion_figure(matrix: Confusion) -> go.Figure:
    has_others = any(row[-1] for row in matrix.counts)
    counts = matrix.counts if has_others else [row[:-1] for row in matrix.counts]
    rows = [_shown(label) for label in matrix.labels]
    columns = [*rows, "(other)"] if has_others else rows
    figure = go.Figure(layout=base_layout())
    figure.add_heatmap(
        z=[[count / max(sum(row), 1) for count in row] for row in counts],
        text=[[str(count) if count else "" for count in row] for row in counts],
        texttemplate="%{text}",
        customdata=[[f"{expected} → {answered}" for answered in columns] for expected in rows],
        hovertemplate="%{customdata}: %{z:.0%}<extra></extra>",
        colorscale=[[0, LIGHT.heat_low], [1, LIGHT.heat_high]],
        zmin=0,
        zmax=1,
        xgap=1,
        ygap=1,
        showscale=False,
    )
    figure.update_layout(height=160 + 30 * len(rows), margin={"t": 16})
    ticks = {"showgrid": False, "ticks": "", "autotickangles": [0, -45, -90]}
    figure.update_xaxes(
        title_text="answered",
        tickvals=list(range(len(columns))),
        ticktext=columns,
        **ticks,
    )
    figure.update_yaxes(
        title_text="expected", tickvals=list(range(len(rows))), ticktext=rows, autorange="reversed", **ticks
    )
    return figure


def _worst_labels_figure(scores: Sequence[LabelScore]) -> go.Figure:
    figure = go.Figure(layout=base_layout())
    positions = list(range(len(scores)))
    figure.add_bar(
        x=[score.f1 for score in scores],
        y=positions,
        orientation="h",
        marker={"color": LIGHT.fine_tuned, "line": {"width": 0}},
        text=[f"{score.f1:.0%}" for score in scores],
        textposition="outside",
        cliponaxis=False,
        customdata=[[score.precision, score.recall, score.n_expected] for score in scores],
        hovertemplate="precision %{customdata[0]:.0%}, recall %{customdata[1]:.0%}, "
        "%{customdata[2]} examples<extra></extra>",
    )
    figure.update_layout(height=110 + 26 * len(scores), margin={"t": 16}, bargap=0.25)
    figure.update_xaxes(range=[0, 1.15], tickformat=".0%", title_text="F1 (%)")
    names = [_shown(score.label) for score in scores]
    figure.update_yaxes(tickvals=positions, ticktext=names, autorange="reversed", showgrid=False)
    return figure


def _shown(label: str) -> str:
    """A label of the data as figure text: short, on one line, and no markup, which plotly would read as such."""
    line = " ".join(label.split()) or "(empty)"
    short = line if len(line) <= _LONGEST_LABEL else line[: _LONGEST_LABEL - 1] + "…"
    return html.escape(short, quote=False)
