"""Figures as images."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from io import BytesIO
from itertools import combinations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from retune.results.figures import training_figures
from retune.results.overview import PastRun, score_figure
from retune.results.static_images import draw_figure, figures_svg
from retune.results.theme import DARK, LIGHT, Palette, base_layout

SVG = "{http://www.w3.org/2000/svg}"
# How a picture looks to an eye that lacks one kind of cones (Machado, Oliveira and Fernandes 2009, full severity).
EYES = {
    "all three cones": np.eye(3),
    "no long-wave cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no middle-wave cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no short-wave cones": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def texts(svg: bytes) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 - our own


def linear(color: str) -> np.ndarray:
    channels = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    matrix = np.array([[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07217], [0.01933, 0.11919, 0.95030]])
    xyz = matrix @ np.clip(rgb, 0, 1) / np.array([0.95047, 1, 1.08883])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_training_as_svg(metrics_table: pd.DataFrame, checkpoints: list[dict[str, object]]) -> None:
    figures = training_figures(metrics_table, checkpoints, n_epochs=3)

    images = figures_svg(figures)

    assert list(images) == ["loss", "token_accuracy"]
    assert all(len(image) < 30_000 for image in images.values())
    loss = texts(images["loss"])
    assert {"step", "loss (nats a token)", "0", "60", "epoch 3", "validation", "best: step 40"} <= set(loss)
    assert {"train, each step", "train (mean of 3 points)"} <= set(loss)
    assert {"token accuracy (%), from 25%", "60%"} <= set(texts(images["token_accuracy"]))
    # The same figure is the same file, on another day too.
    assert figures_svg(figures) == images
    assert b"date" not in images["loss"]


def test_names_are_text_and_nothing_else() -> None:
    names = ["<script>x</script> & \"y\" 'z'", "$x^2$ \\alpha", "_hidden", "日本語 模型", "bad \x00\ud800 end"]
    figure = go.Figure(layout=base_layout())
    for name in names:
        figure.add_scatter(x=[1, 2], y=[1, 2], name=name.replace("&", "&amp;").replace("<", "&lt;"))
    figure.update_xaxes(title_text="step")
    figure.update_yaxes(title_text="loss")

    image = draw_figure(figure, "svg")

    assert {*names[:4], "bad \ufffd\ufffd end"} <= set(texts(image))
    assert b"<script" not in image
    assert draw_figure(figure, "png").startswith(b"\x89PNG")


@pytest.mark.parametrize(("dark", "palette"), [(False, LIGHT), (True, DARK)])
def test_a_png_is_sharp_and_light_or_dark(metrics_table: pd.DataFrame, dark: bool, palette: Palette) -> None:
    (figure,) = training_figures(metrics_table[["step", "train_loss"]], []).values()

    image = Image.open(BytesIO(draw_figure(figure, "png", dark=dark))).convert("RGB")

    assert image.size == (1720, 800)
    pixels = np.unique(np.asarray(image).reshape(-1, 3), axis=0)
    colors = {"#{:02x}{:02x}{:02x}".format(*pixel) for pixel in pixels.tolist()}
    assert {palette.background, palette.train} <= colors
    assert not ({DARK.train, LIGHT.train} - {palette.train}) & colors


def test_scores_over_time_have_dates_below() -> None:
    runs = [
        PastRun("support", "small", datetime(2026, month, 1, tzinfo=UTC), exact_match=0.5, cost_usd=None)
        for month in (1, 2, 3)
    ]

    shown = texts(draw_figure(score_figure(runs), "svg"))

    assert {"trained at (UTC)", "exact match (%)", "support (small)"} <= set(shown)
    assert any(text.startswith("2026-0") for text in shown)


def test_one_point_and_a_loss_of_nothing_can_be_drawn() -> None:
    for losses in ([0.5], [0.0, 0.0]):
        table = pd.DataFrame({"step": range(1, len(losses) + 1), "train_loss": losses})
        assert "train" in texts(figures_svg(training_figures(table, []))["loss"])


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("eye", EYES)
def test_lines_of_figures_have_distinct_colours(palette: Palette, eye: str) -> None:
    seen = {color: lab(EYES[eye] @ linear(color)) for color in palette.series}

    # Two colours side by side look different from a distance of about 2; thin lines need several times that.
    assert min(np.linalg.norm(seen[one] - seen[other]) for one, other in combinations(seen, 2)) > 15
    background = lab(EYES[eye] @ linear(palette.background))
    assert min(np.linalg.norm(color - background) for color in seen.values()) > 30
