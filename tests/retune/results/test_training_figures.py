"""What the training's figures hold."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly.graph_objs._figure import Figure

from retune.results.curves import best_checkpoint, smooth, smoothing_window, thin
from retune.results.figures import comparison_figures, training_figures
from retune.results.theme import DARK, LIGHT, dark_for_light


def names(figure: Figure) -> list[str]:
    return [trace.name for trace in figure.data]


def test_figures_show_loss_and_accuracy_by_step(
    metrics_table: pd.DataFrame, checkpoints: list[dict[str, object]]
) -> None:
    figures = training_figures(metrics_table, checkpoints, n_epochs=3)

    assert list(figures) == ["loss", "token_accuracy"]
    loss = figures["loss"]
    assert names(loss) == [
        "train, each step",
        "train (mean of 3 points)",
        "validation",
        "full validation",
        "checkpoint",
        "best: step 40",
    ]
    assert loss.layout.xaxis.title.text == "step"
    assert loss.layout.yaxis.title.text == "loss (nats a token)"
    assert list(loss.data[2].x) == [10, 20, 30, 40, 50, 60]
    assert [shape.x0 for shape in loss.layout.shapes] == [20, 40, 60]
    assert [note.text for note in loss.layout.annotations] == ["epoch 1", "epoch 2", "epoch 3"]
    # Above the lines, and below the legend.
    assert {(note.y, note.yref, note.yanchor) for note in loss.layout.annotations} == {(1, "paper", "bottom")}
    assert loss.layout.legend.y > 1.05
    accuracy = figures["token_accuracy"].layout.yaxis
    assert (accuracy.title.text, accuracy.tickformat) == ("token accuracy (%), from 25%", ".0%")
    assert accuracy.range[0] == 0.25


def test_the_raw_line_is_faint_and_shows_every_step(metrics_table: pd.DataFrame) -> None:
    raw, smoothed = training_figures(metrics_table, [])["loss"].data[:2]

    assert raw.opacity < 0.5
    assert list(raw.y) == [pytest.approx(value, rel=1e-4) for value in metrics_table["train_loss"]]
    assert smoothed.opacity is None
    assert raw.showlegend is not False


def test_the_best_checkpoint_is_marked_where_its_loss_is(
    metrics_table: pd.DataFrame, checkpoints: list[dict[str, object]]
) -> None:
    star = training_figures(metrics_table, checkpoints)["loss"].data[-1]

    assert (list(star.x), list(star.y)) == ([40], [0.5])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            {"full_valid_loss": [None, 0.5], "valid_loss": [0.1, 0.4], "train_loss": [0.1, 0.2]},
            (2, "full_valid_loss", 0.5),
        ),
        ({"valid_loss": [0.3, 0.3], "train_loss": [0.2, 0.1]}, (1, "valid_loss", 0.3)),
        ({"train_loss": [0.2, 0.1]}, (2, "train_loss", 0.1)),
        ({"train_mean_token_accuracy": [0.2, 0.1]}, None),
    ],
)
def test_which_checkpoint_is_the_best(columns: dict[str, Any], expected: tuple[int, str, float] | None) -> None:
    table = pd.DataFrame({"step": [1, 2], **columns}).astype(dict.fromkeys(columns, float))
    saved = [{"step_number": step, "fine_tuned_model_checkpoint": f"c{step}"} for step in (2, 1, None)]

    best = best_checkpoint(table, saved)

    assert (best and (best.step, best.metric, best.value)) == expected
    assert best is None or best.model == f"c{best.step}"


def test_only_steps_with_a_checkpoint_count(metrics_table: pd.DataFrame) -> None:
    saved = [{"step_number": 60, "fine_tuned_model_checkpoint": "last"}]

    best = best_checkpoint(metrics_table, saved)

    assert best is not None
    assert (best.model, best.value) == ("last", 0.6)
    assert best_checkpoint(metrics_table, []) is None
    assert best_checkpoint(metrics_table.head(0), saved) is None


def test_single_point_is_drawn_as_a_marker() -> None:
    table = pd.DataFrame({"step": [1], "train_loss": [0.5]})

    (figure,) = training_figures(table, [], n_epochs=1).values()

    assert names(figure) == ["train"]
    assert figure.data[0].mode == "markers"
    assert figure.layout.showlegend


def test_empty_metrics_give_no_figures() -> None:
    assert training_figures(pd.DataFrame({"step": pd.Series(dtype=int)}), [], n_epochs=3) == {}


def test_legacy_job_has_loss_accuracy_and_classification_figures() -> None:
    table = pd.DataFrame(
        {
            "step": [1, 2],
            "train_loss": [0.5, 0.4],
            "train_sequence_accuracy": [0.0, 1.0],
            "classification/accuracy": [np.nan, 0.75],
            "classification/weighted_f1_score": [np.nan, 0.7],
        }
    )

    figures = training_figures(table, [])

    assert list(figures) == ["loss", "sequence_accuracy", "classification"]
    assert names(figures["classification"]) == ["accuracy", "weighted F1"]


def test_equal_scores_are_drawn_distinguishably() -> None:
    names = [f"classification/{name}" for name in ("accuracy", "precision", "recall", "auroc", "auprc", "f1.0")]
    table = pd.DataFrame({"step": [1, 2], **{name: [0.81, 0.9] for name in names}})

    figure = training_figures(table, [])["classification"]

    lines = figure.data
    assert (
        len({(line.line.dash, line.marker.symbol) for line in lines}) == len({line.line.color for line in lines}) == 6
    )
    assert [line.line.width for line in lines] == sorted({line.line.width for line in lines}, reverse=True)
    assert figure.layout.yaxis.range[0] == 0.75
    assert figure.layout.yaxis.title.text == "score on validation (%), from 75%"


@pytest.mark.parametrize("columns", [["train_loss"], ["train_loss", "valid_loss"], ["classification/accuracy"]])
def test_jobs_drawn_over_each_other_differ_by_more_than_their_colour(columns: list[str]) -> None:
    table = pd.DataFrame({"step": [1, 2], **{name: [0.5, 0.4] for name in columns}})

    (figure,) = comparison_figures({f"job {number}": table for number in range(6)}).values()

    assert len({line.line.color for line in figure.data}) == len({line.marker.symbol for line in figure.data}) == 6
    n_dashes = len({line.line.dash for line in figure.data})
    assert n_dashes == (6 if len(columns) == 1 else len(columns))


def test_a_loss_below_zero_is_in_the_picture() -> None:
    (figure,) = training_figures(pd.DataFrame({"step": [1, 2], "train_loss": [-0.5, -0.25]}), []).values()

    low, high = figure.layout.yaxis.range
    assert low < -0.5 < -0.25 < high


def test_many_epochs_are_all_marked_and_some_named(metrics_table: pd.DataFrame) -> None:
    layout = training_figures(metrics_table, [], n_epochs=25)["loss"].layout

    assert len(layout.shapes) == 25
    assert [note.text for note in layout.annotations] == [f"epoch {epoch}" for epoch in (5, 10, 15, 20, 25)]


def test_long_trainings_stay_small() -> None:
    steps = np.arange(1, 50_001)
    table = pd.DataFrame({"step": steps, "train_loss": 1 + np.sin(steps), "valid_loss": 2 + np.cos(steps)})

    assert len(training_figures(table, [])["loss"].to_json()) < 150_000


VALUES = st.lists(st.floats(0, 100), min_size=1, max_size=200)


@given(VALUES, st.integers(10, 60))
def test_thinning_keeps_the_ends_and_the_extremes(values: list[float], most: int) -> None:
    steps = np.arange(len(values), dtype=float)
    thin_steps, thin_values = thin(steps, np.array(values), most)

    assert len(thin_steps) <= max(most, 1)
    assert (thin_steps[0], thin_steps[-1]) == (steps[0], steps[-1])
    assert all(values[int(step)] == value for step, value in zip(thin_steps, thin_values, strict=True))
    assert np.all(np.diff(thin_steps) > 0)


@given(VALUES)
def test_smoothing_keeps_length_and_bounds(values: list[float]) -> None:
    smoothed = smooth(np.array(values), smoothing_window(len(values)))

    assert len(smoothed) == len(values)
    assert smoothed.min() >= min(values) - 1e-6
    assert smoothed.max() <= max(values) + 1e-6


def test_a_spike_survives_thinning() -> None:
    values = np.ones(10_000)
    values[4321] = 50.0

    assert 50.0 in thin(np.arange(10_000.0), values)[1]


def test_every_light_colour_has_its_own_dark_one() -> None:
    pairs = dark_for_light()

    assert len(pairs) == len(set(pairs.values()))
    assert pairs[LIGHT.train] == DARK.train
