"""Figures as images, with the real browser where there is one."""

import asyncio
import logging
import xml.etree.ElementTree as ET

import pandas as pd
import plotly.graph_objects as go
import pytest

from retune.results import static_images
from retune.results.figures import training_figures
from retune.results.static_images import figure_svg, figures_svg, mermaid_line_chart


@pytest.mark.usefixtures("browser_path")
async def test_figures_become_small_svgs_inside_a_running_loop(metrics_table, checkpoints):
    figures = training_figures(metrics_table, checkpoints, n_epochs=3)
    label = 'class="kept" opacity: 1; <b>'
    figures["labels"] = go.Figure(go.Bar(x=[1], y=[label.replace("<", "&lt;")], orientation="h"))

    images = await asyncio.to_thread(figures_svg, figures)

    assert list(images) == ["loss", "token_accuracy", "labels"]
    for image in images.values():
        assert ET.fromstring(image).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own
        assert len(image) < 30_000
    assert "loss (nats a token)" in images["loss"].decode()
    # What slims the tags must not touch the texts.
    assert label in "".join(ET.fromstring(images["labels"]).itertext())  # noqa: S314 - our own


@pytest.fixture
def no_browser(monkeypatch):
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chromium")
    static_images._log_once.cache_clear()


@pytest.mark.usefixtures("no_browser")
def test_without_a_browser_there_are_no_images_and_the_log_says_why_once(caplog, metrics_table):
    figures = training_figures(metrics_table, [])

    with caplog.at_level(logging.WARNING, logger="retune"):
        assert figures_svg(figures) == {}
        assert figure_svg(figures["loss"]) is None

    (record,) = [record for record in caplog.records if record.name.startswith("retune")]
    assert "/nowhere/chromium" in record.getMessage()


def test_nothing_to_draw_starts_no_browser():
    assert figures_svg({}) == {}


def test_mermaid_stands_in(metrics_table):
    training, validation = mermaid_line_chart(metrics_table).split("\n\n")

    fence, _colors, kind, *chart = training.splitlines()
    assert (fence, kind) == ("```mermaid", "xychart-beta")
    assert chart[:3] == [
        '    title "Training loss (nats a token)"',
        '    x-axis "step" 1 --> 60',
        '    y-axis "loss" 0 --> 2.923',
    ]
    assert chart[3].startswith("    line [2.784, 2.519")
    assert chart[3].count(",") == 39
    assert 'x-axis "step" 10 --> 60' in validation


@pytest.mark.parametrize("losses", [[], [0.5]])
def test_mermaid_needs_two_points(losses):
    assert mermaid_line_chart(pd.DataFrame({"step": range(len(losses)), "train_loss": losses})) == ""


def test_mermaid_of_a_loss_of_nothing():
    assert "0 --> 0.01" in mermaid_line_chart(pd.DataFrame({"step": [1, 2], "train_loss": [0.0, 0.0]}))
