"""Headings and captions of the figures."""

import json
from collections.abc import Mapping

import plotly.graph_objects as go

from retune.results.curves import BestCheckpoint
from retune.results.figures import classification_name
from retune.results.report_data import ReportFigure

_METRIC_NAMES = {
    "full_valid_loss": "full validation loss",
    "valid_loss": "validation loss",
    "train_loss": "training loss, since no validation was measured",
}
_CURVES = "The faint line is each step as measured, the strong one its moving mean."
_CONFUSION_CAPTION = (
    "The fine-tuned model's answers: examples expected (row) and answered (column). Right ones are on the diagonal; "
    "the shade is the share of the row."
)
_TITLES = {
    "scores": ("Scores", "Scores on the held-out test examples; longer is better."),
    "loss": ("Loss", f"Lower is better; validation rising while training falls is over-fitting. {_CURVES}"),
    "token_accuracy": ("Token accuracy", f"How often the next token of the answer was the likeliest one. {_CURVES}"),
    "sequence_accuracy": ("Sequence accuracy", f"How often a whole answer was the likeliest one. {_CURVES}"),
    "classification": ("Classification", "Scores that the job measured on the validation file."),
}


def describe_best(best: BestCheckpoint) -> str:
    """Say which checkpoint is the best and by what."""
    return f"{best.model} (step {best.step:,}): lowest {_METRIC_NAMES[best.metric]}, {best.value:.4g} nats a token"


def describe_figures(figures: Mapping[str, go.Figure]) -> list[ReportFigure]:
    """Give figures of `training_figures` and `evaluation_figures` their headings, in the order of a report."""
    order = [name for name in _TITLES if name in figures] + [name for name in figures if name not in _TITLES]
    return [_describe(name, figures[name]) for name in order]


def _describe(name: str, figure: go.Figure) -> ReportFigure:
    title, caption = _TITLES.get(name) or _other_title(name, figure)
    if not any(trace.opacity for trace in figure.data):
        caption = caption.removesuffix(_CURVES).strip()
    return ReportFigure(name=name, title=title, caption=caption, spec=json.loads(figure.to_json()))


def _other_title(name: str, figure: go.Figure) -> tuple[str, str]:
    if name.startswith("classification/"):
        score = classification_name(name)
        return score[0].upper() + score[1:], "Measured on the validation file."
    field = name.removeprefix("labels.")
    if figure.data[0].type == "heatmap":
        return f"What is taken for what: {field}", _CONFUSION_CAPTION
    return f"Hardest labels: {field}", "F1 of the fine-tuned model on the labels that it tells worst."
