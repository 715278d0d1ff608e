"""Figures where no script runs: SVG by way of a Chromium, and Mermaid where there is none."""

import asyncio
import logging
import re
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from retune.results.theme import LIGHT

_LOG = logging.getLogger(__name__)
_WIDTH = 860
_HEIGHT = 400  # for figures that name none
_SECONDS_FOR_ONE = 60
_SECONDS_FOR_ALL = 180
_MERMAID_POINTS = 40
# Hooks for the scripts of plotly.js, and what SVG takes for granted anyway: a fourth of a figure's bytes.
_BLOAT = re.compile(
    r' (?:class|data-[\w-]+|pointer-events|cursor|aria-[\w-]+)="[^"]*"'
    r"|(?:pointer-events|cursor|vector-effect|text-rendering|user-select|-webkit-user-select): [\w-]+;? ?"
    r"|(?<![\w-])(?:(?:fill-|stroke-)?opacity: 1|stroke-miterlimit: 2); ?"
)
_TAG = re.compile(r"<[^<>]*>")
_FONT_FAMILY = re.compile(r"font-family: ([^;]+); ?")


def figures_svg(figures: Mapping[str, Any]) -> dict[str, bytes]:
    """Draw plotly figures as SVG, all in one start of the browser.

    Blocks for some seconds; may be called from inside a running event loop, since it has its own in a thread. The
    browser is the one of BROWSER_PATH, else a Chromium or Chrome on the PATH.

    Returns:
        One SVG a figure, under the same names. Empty where no browser is found or it fails; a log line says why.
    """
    if not figures:
        return {}
    drawn: dict[str, bytes] = {}
    failures: list[Exception] = []
    thread = threading.Thread(target=_draw_in_own_loop, args=(figures, drawn, failures), daemon=True)
    thread.start()
    thread.join()
    for failure in failures:
        _log_once(" ".join(str(failure).split()) or type(failure).__name__)
    return {} if failures else drawn


def figure_svg(figure: Any) -> bytes | None:
    """Draw one plotly figure as SVG; None where there is no browser."""
    return figures_svg({"figure": figure}).get("figure")


def mermaid_line_chart(table: pd.DataFrame) -> str:
    """Draw the losses as Mermaid charts, which need no image: training, then validation where it was measured.

    Args:
        table: Metrics as in `TrainingMetrics.table`.

    Returns:
        Mermaid `xychart-beta` blocks in Markdown fences; empty where there are fewer than two points.
    """
    charts = []
    for column, title, color in (
        ("train_loss", "Training loss", LIGHT.train),
        ("valid_loss", "Validation loss", LIGHT.validation),
    ):
        points = table[["step", column]].dropna() if column in table.columns else table.head(0)
        if len(points) >= 2:
            charts.append(_mermaid_chart(title, color, points["step"].to_numpy(), points[column].to_numpy(float)))
    return "\n\n".join(charts)


def _draw_in_own_loop(figures: Mapping[str, Any], drawn: dict[str, bytes], failures: list[Exception]) -> None:
    try:
        asyncio.run(_draw(figures, drawn))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a browser, pictures are not worth a run
        failures.append(error)


async def _draw(figures: Mapping[str, Any], drawn: dict[str, bytes]) -> None:
    import kaleido  # noqa: PLC0415 - takes half a second to import

    # mathjax=False: it would be loaded from the network, and no figure here has formulas.
    async with (
        asyncio.timeout(_SECONDS_FOR_ALL),
        kaleido.Kaleido(n=1, timeout=_SECONDS_FOR_ONE, mathjax=False) as browser,
    ):
        for name, figure in figures.items():
            size = {"format": "svg", "width": _WIDTH, "height": figure.layout.height or _HEIGHT}
            drawn[name] = _without_bloat(await browser.calc_fig(figure, opts=size))


def _without_bloat(svg: bytes) -> bytes:
    text = svg.decode()
    font = _FONT_FAMILY.search(text)
    # Only inside tags: the texts between them are data.
    slim = _TAG.sub(lambda tag: _FONT_FAMILY.sub("", _BLOAT.sub("", tag[0])).replace(' style=""', ""), text)
    # Every text names the font anew; once on the root is enough, since it is inherited.
    return (slim.replace("<svg ", f'<svg style="font-family: {font[1]}" ', 1) if font else slim).encode()


@cache
def _log_once(reason: str) -> None:
    _LOG.warning("Figures are not drawn as images: %s", reason)


def _mermaid_chart(title: str, color: str, steps: Any, values: Any) -> str:
    # The line's points stand at equal distances, so each is the mean of an equal stretch of steps.
    pieces = np.array_split(np.arange(len(values)), min(len(values), _MERMAID_POINTS))
    means = [float(values[piece].mean()) for piece in pieces]
    top = max(max(means) * 1.05, 0.01)
    return "\n".join(
        [
            "```mermaid",
            # Mermaid's own first line colour can hardly be seen.
            f'%%{{init: {{"themeVariables": {{"xyChart": {{"plotColorPalette": "{color}"}}}}}}}}%%',
            "xychart-beta",
            f'    title "{title} (nats a token)"',
            f'    x-axis "step" {int(steps[0])} --> {int(steps[-1])}',
            f'    y-axis "loss" 0 --> {top:.4g}',
            f"    line [{', '.join(f'{mean:.4g}' for mean in means)}]",
            "```",
        ]
    )
