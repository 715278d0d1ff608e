"""Figures where no script runs, such as Prefect's artifacts: as SVG or PNG, drawn by matplotlib.

The figures are those of plotly that the report shows. What is read here is what `retune.results` puts into them: lines
and markers, dotted lines for epochs, and their notes.
"""

import html
import io
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from retune.results.theme import LIGHT, dark_for_light
from retune.training_lines.keys import JsonMapping, JsonObject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

ImageFormat = Literal["svg", "png"]

_WIDTH = 860
_HEIGHT = 400  # for figures that name none
_POINTS_A_PIXEL = 0.75
_PIXELS_AN_INCH = 96
_LEGEND_LETTERS = 110  # beside each other
_DASHES = {
    "dash": (0, (6, 3)), "dot": (0, (1.5, 2)), "dashdot": (0, (6, 2, 1.5, 2)), "longdash": (0, (10, 3)),
    "longdashdot": (0, (10, 2, 1.5, 2)),
}  # fmt: skip
_MARKERS = {
    "diamond": "D", "square": "s", "triangle-up": "^", "triangle-down": "v", "cross": "P", "star": "*",
}  # fmt: skip
# Fonts for names in Chinese, Japanese and Korean, where the machine has one; matplotlib's own comes first.
_MORE_FONTS = ("Noto Sans CJK JP", "Noto Sans JP", "Noto Sans", "Hiragino Sans", "Yu Gothic", "WenQuanYi Zen Hei")
_SETTINGS = {
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud, and the file is small
    "svg.hashsalt": "retune",  # the same figure is the same file
    "axes.unicode_minus": False,
}
_SVG_FONTS = "system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans CJK JP', 'DejaVu Sans', sans-serif"
_FONT_FAMILY = re.compile(r"font-family: 'DejaVu Sans'[^;\"]*")
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Matplotlib's settings belong to the process, and flows draw in threads.
_drawing = threading.Lock()


def figures_svg(figures: Mapping[str, object]) -> dict[str, bytes]:
    """Draw plotly figures as SVG, in light colours; the same figure is always the same bytes."""
    return {name: draw_figure(figure, "svg") for name, figure in figures.items()}


def draw_figure(figure: object, image_format: ImageFormat, *, dark: bool = False) -> bytes:
    """Draw one figure; see `draw_figures`."""
    return draw_figures([figure], image_format, dark=dark)


def draw_figures(
    figures: Sequence[Any], image_format: ImageFormat, *, dark: bool = False, titles: Sequence[str] = ()
) -> bytes:
    """Draw plotly figures of lines and markers below each other, as one image.

    Args:
        figures: One or more, in light colours.
        image_format: `svg`, whose texts stay texts, or `png`, at twice the size for sharp screens.
        dark: In the dark colours of the report.
        titles: What to write over each figure, as plain text; none, or one a figure.
    """
    # Importing it takes longer than drawing.
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    specs = [figure.to_plotly_json() for figure in figures]
    heights = [spec["layout"].get("height", _HEIGHT) / _PIXELS_AN_INCH for spec in specs]
    size = (_WIDTH / _PIXELS_AN_INCH, sum(heights))
    colors = dark_for_light() if dark else {}
    settings: dict[Any, Any] = {**_SETTINGS, "font.family": _fonts()}
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    with _drawing, rc_context(settings), warnings.catch_warnings():
        # A viewer of SVG has fonts of its own; in a PNG a box stands for a letter that no font here has.
        warnings.filterwarnings("ignore", message="Glyph")
        drawn = Figure(figsize=size, layout=layout, facecolor=colors.get(LIGHT.background, LIGHT.background))
        places = drawn.subfigures(len(specs), 1, height_ratios=heights, squeeze=False)[:, 0]
        for place, spec, title in zip(places, specs, titles or [""] * len(specs), strict=True):
            _Painter(place, colors).paint(spec["data"], spec["layout"], title)
        content = io.BytesIO()
        # No date, and no address of matplotlib's.
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type")) if image_format == "svg" else {"Software": None}
        drawn.savefig(content, format=image_format, dpi=2 * _PIXELS_AN_INCH, metadata=metadata)
    if image_format == "png":
        return content.getvalue()
    return _FONT_FAMILY.sub(f"font-family: {_SVG_FONTS}", content.getvalue().decode()).encode()


def _fonts() -> list[str]:
    from matplotlib.font_manager import fontManager  # noqa: PLC0415 - see above

    there = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _MORE_FONTS if name in there)]


class _Painter:
    """Puts a plotly figure's traces on matplotlib's axes."""

    def __init__(self, figure: "SubFigure", colors: Mapping[str, str]) -> None:
        self._figure = figure
        self._axes: Axes = figure.add_subplot()
        self._colors = colors

    def paint(self, traces: Sequence[JsonMapping], layout: JsonMapping, title: str) -> None:
        for trace in traces:
            self._draw_trace(trace)
        self._set_axes(layout)
        for shape in layout.get("shapes", ()):
            self._axes.axvline(shape["x0"], color=self._color(shape["line"]["color"]), linewidth=0.8, linestyle=":")
        for note in layout.get("annotations", ()):
            self._axes.annotate(
                _plain(note["text"]),
                (note["x"], 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=8,
                color=self._color(LIGHT.muted),
            )
        self._draw_legend(traces, _plain(title))

    def _color(self, light: str) -> str:
        return self._colors.get(light, light)

    def _draw_trace(self, trace: JsonMapping) -> None:
        line, marker, mode = trace.get("line") or {}, trace.get("marker") or {}, trace.get("mode", "lines")
        color = self._color(marker.get("color") or line.get("color") or LIGHT.ink)
        style: JsonObject = {"linestyle": "none"}
        if "lines" in mode:
            style = {
                "linestyle": _DASHES.get(line.get("dash", ""), "-"),
                "linewidth": line.get("width", 2) * _POINTS_A_PIXEL,
            }
        if "markers" in mode:
            symbol = marker.get("symbol", "circle")
            style |= {
                "marker": _MARKERS.get(symbol.removesuffix("-open"), "o"),
                "markersize": marker.get("size", 6) * _POINTS_A_PIXEL,
                "markerfacecolor": "none" if symbol.endswith("-open") else color,
                "markeredgewidth": 1.2 if symbol.endswith("-open") else 0.5,
            }
        opacity = trace.get("opacity") or 1
        self._axes.plot(trace["x"], trace["y"], color=color, alpha=opacity, label="_", **style)

    def _set_axes(self, layout: JsonMapping) -> None:
        from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter  # noqa: PLC0415 - see above

        axes, x, y = self._axes, layout["xaxis"], layout["yaxis"]
        axes.set_facecolor(self._color(LIGHT.background))
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(self._color(LIGHT.mark))
        axes.grid(color=self._color(LIGHT.grid), linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=self._color(LIGHT.muted), labelsize=9.5, length=0)
        axes.set_xlabel(_plain(x["title"]["text"]), color=self._color(LIGHT.muted), fontsize=10)
        axes.set_ylabel(_plain(y["title"]["text"]), color=self._color(LIGHT.muted), fontsize=10)
        if x.get("rangemode") == "tozero":
            axes.set_xlim(left=0)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, steps=(1, 2, 5, 10)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        if "range" in y:
            axes.set_ylim(*y["range"])
        if "%" in (y.get("tickformat") or ""):
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))

    def _draw_legend(self, traces: Sequence[JsonMapping], title: str) -> None:
        named = [
            (handle, trace["name"])
            for handle, trace in zip(self._axes.lines, traces, strict=False)
            if trace.get("name") and trace.get("showlegend") is not False
        ]
        if not named:
            self._axes.set_title(title, loc="left", color=self._color(LIGHT.ink), fontsize=11, fontweight="bold")
            return
        legend = self._figure.legend(
            [handle for handle, _ in named],
            [str(number) for number in range(len(named))],
            loc="outside upper left",
            ncols=max(1, min(4, len(named), _LEGEND_LETTERS // (6 + max(len(_plain(name)) for _, name in named)))),
            frameon=False,
            handlelength=3.2,  # room for the longest dashes
            fontsize=9.5,
            labelcolor=self._color(LIGHT.ink),
            # The layout makes room for one thing above the axes, so the title belongs to the legend.
            title=title or None,
            title_fontproperties={"size": 11, "weight": "bold"},
            alignment="left",
        )
        legend.get_title().set_color(self._color(LIGHT.ink))
        # Afterwards: matplotlib leaves out what is called by a name that begins with an underscore.
        for text, (_, name) in zip(legend.get_texts(), named, strict=True):
            text.set_text(_plain(name))


def _plain(text: str) -> str:
    """Text of a plotly figure, whose markup is escaped, as it reads; without what XML can't hold."""
    return _NOT_IN_XML.sub("\ufffd", html.unescape(text))
