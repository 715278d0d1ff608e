"""The report: one HTML file that works with no network."""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jinja2
from plotly.offline import get_plotlyjs

from retune.data.cost.estimate import format_usd
from retune.evaluation.comparison import format_seconds
from retune.files import write_bytes
from retune.results.report_data import ExampleRow, ReportData, ReportFigure
from retune.results.theme import DARK, FONT_FAMILY, LIGHT, dark_for_light

_TEMPLATES = Path(__file__).parent / "templates"
_OUTCOME_NAMES = {
    "fixed": "fixed by fine-tuning",
    "broken": "broken by fine-tuning",
    "right": "right in both",
    "wrong": "wrong in both",
}


def write_report(path: Path, report: ReportData) -> None:
    """Write the report as one HTML file of about 5 MB (plotly.js is most of it), atomically.

    All text from the data is escaped, and the page's content security policy runs no script but its own two, by
    their hashes, and loads nothing from anywhere.

    Raises:
        OSError: The file can't be written.
    """
    write_bytes(path, render_report(report).encode("utf-8", "replace"))


def render_report(report: ReportData) -> str:
    """Draw the report as HTML."""
    examples = report.evaluation.examples if report.evaluation else []
    system = _shared_system_prompt(examples)
    return _render(
        "report.html.j2",
        report.figures,
        report=report,
        evaluation=report.evaluation,
        headline=_headline_rows(report),
        system_prompt=system,
        examples=[(row, row.prompt[1:] if system else row.prompt) for row in examples],
        outcome_names=_OUTCOME_NAMES,
        longest_step=max((step.seconds for step in report.durations), default=0),
    )


def render_figures(title: str, figures: Sequence[ReportFigure]) -> str:
    """Draw figures alone as HTML, under a title."""
    return _render("figures.html.j2", figures, title=title)


def _render(template: str, figures: Sequence[ReportFigure], **values: object) -> str:
    scripts = {"plotly": get_plotlyjs(), "page": (_TEMPLATES / "report.js").read_text(encoding="utf-8")}
    page_data = {
        "figures": [figure.model_dump(include={"name", "spec"}) for figure in figures],
        "darkForLight": dark_for_light(),
    }
    return (
        _environment()
        .get_template(template)
        .render(
            figures=figures,
            light=LIGHT,
            dark=DARK,
            font_family=FONT_FAMILY,
            page_data=page_data,
            scripts=scripts,
            script_hashes=[_csp_hash(script) for script in scripts.values()],
            **values,
        )
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = format_seconds
    environment.filters["usd"] = format_usd
    environment.filters["number"] = lambda value: f"{value:,}" if isinstance(value, int) else str(value)
    # Compact and ASCII: lone surrogates, which UTF-8 can't hold, stay escapes.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": True}
    return environment


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _headline_rows(report: ReportData) -> list[object]:
    rows = report.evaluation.comparison if report.evaluation else []
    return [row for row in rows if row.name in {"chrf", "exact_match", "sets_right", "macro_f1", "accuracy"}]


def _shared_system_prompt(examples: list[ExampleRow]) -> str | None:
    """The system prompt where all examples have the same one: it is shown once instead of in every row."""
    firsts = {json.dumps(row.prompt[0]) if row.prompt else "" for row in examples}
    first = examples[0].prompt[0] if len(firsts) == 1 and examples[0].prompt else {}
    return first.get("content") if first.get("role") in {"system", "developer"} else None
