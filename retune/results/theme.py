"""Colours of the figures and of the report, for light and dark.

The six series colours can be told apart on their background with every kind of colour vision, by lightness too.
"""

from dataclasses import dataclass, fields

from retune.training_lines.keys import JsonObject


@dataclass(frozen=True, slots=True)
class Palette:
    """One colour a purpose, as #rrggbb; within a palette no two are alike, so that one can be told from the other."""

    background: str
    ink: str
    muted: str
    grid: str
    mark: str
    train: str
    validation: str
    full_validation: str
    fourth: str
    fifth: str
    sixth: str
    base: str
    fine_tuned: str
    heat_low: str
    heat_high: str

    @property
    def series(self) -> tuple[str, ...]:
        """Colours for lines that belong together, in the order of their use."""
        return (self.train, self.validation, self.full_validation, self.fourth, self.fifth, self.sixth)


LIGHT = Palette(
    background="#ffffff",
    ink="#1b2430",
    muted="#5b6675",
    grid="#e6e9ee",
    mark="#a9b2be",
    train="#0072b2",
    validation="#d55e00",
    full_validation="#00513a",
    fourth="#8212d3",
    fifth="#b87e6b",
    sixth="#3a1404",
    base="#9aa3ae",
    fine_tuned="#0a6cae",
    heat_low="#f3f7fb",
    heat_high="#0b5a91",
)
DARK = Palette(
    background="#151b23",
    ink="#e6edf3",
    muted="#9aa7b4",
    grid="#2a323d",
    mark="#5a6572",
    train="#56b4e9",
    validation="#f0a04b",
    full_validation="#38875a",
    fourth="#a04bf0",
    fifth="#e9e9d2",
    sixth="#9b4b87",
    base="#7d8894",
    fine_tuned="#4aa8e8",
    heat_low="#1b2530",
    heat_high="#2a78b8",
)

FONT_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans CJK JP', sans-serif"


def dark_for_light() -> dict[str, str]:
    """Which dark colour stands for which light one: a browser repaints a figure by it."""
    return {getattr(LIGHT, field.name): getattr(DARK, field.name) for field in fields(Palette)}


def base_layout() -> JsonObject:
    """The layout that every figure starts from: light, quiet, no title (the page has one)."""
    axis = {
        "gridcolor": LIGHT.grid,
        "linecolor": LIGHT.mark,
        "tickcolor": LIGHT.mark,
        "zeroline": False,
        "automargin": True,
        "title": {"font": {"size": 13, "color": LIGHT.muted}, "standoff": 10},
    }
    return {
        # Any template of our own keeps plotly's 7 kB of defaults out of every figure; an empty one would not.
        "template": {"layout": {"colorway": list(LIGHT.series)}},
        "font": {"family": FONT_FAMILY, "size": 13, "color": LIGHT.ink},
        "paper_bgcolor": LIGHT.background,
        "plot_bgcolor": LIGHT.background,
        "margin": {"l": 56, "r": 20, "t": 48, "b": 48},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom", "font": {"size": 12}},
        "hoverlabel": {"bgcolor": LIGHT.background, "bordercolor": LIGHT.mark, "font": {"color": LIGHT.ink}},
        "xaxis": axis,
        "yaxis": axis,
    }
