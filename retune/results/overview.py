"""All models that were retrained, as Markdown for Prefect's artifact."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import plotly.graph_objects as go
from pydantic import ValidationError

from retune.data.cost.estimate import format_usd
from retune.results.links import report_url, summary_key
from retune.results.manifest import RunManifest
from retune.results.markdown import MOST_BYTES, escape, link
from retune.results.theme import LIGHT, base_layout

_MOST_MODELS = 200
_MOST_POINTS = 100


@dataclass(frozen=True, slots=True)
class PastRun:
    """What the overview shows of a completed run.

    Attributes:
        name: The suffix of its model, else the label of its data.
        base_model: What it was trained from.
        completed_at: When its manifest was written.
        exact_match: Share of the test split, 0 to 1; None where nothing was tested.
        cost_usd: None where it was free or no price is known.
        report_url: Where its report is served, if it is.
    """

    name: str
    base_model: str
    completed_at: datetime
    exact_match: float | None
    cost_usd: float | None
    report_url: str | None = None


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A flow run that failed or is to come.

    Attributes:
        id: Of the flow run.
        name: Of the flow run.
        moment: When it ended, or is to begin.
        says: What Prefect says of its state; may be empty.
    """

    id: str
    name: str
    moment: datetime | None
    says: str


def read_past_runs(runs_directory: Path) -> tuple[list[PastRun], int]:
    """Every complete run below a directory.

    Returns:
        The runs, oldest first; and how many manifests could not be read, such as those of another version.
    """
    runs, n_unreadable = [], 0
    for path in runs_directory.glob("*/manifest.json"):
        try:
            runs.append(_past_run(RunManifest.model_validate_json(path.read_bytes())))
        except (OSError, ValidationError):
            n_unreadable += 1
    return sorted(runs, key=lambda run: run.completed_at), n_unreadable


def _past_run(manifest: RunManifest) -> PastRun:
    rows = manifest.evaluation.comparison if manifest.evaluation else []
    completed_at = datetime.fromisoformat(manifest.completed_at)
    return PastRun(
        name=manifest.config.name,
        base_model=manifest.job.base_model,
        completed_at=completed_at if completed_at.tzinfo else completed_at.replace(tzinfo=UTC),
        exact_match=next((row.fine_tuned for row in rows if row.name == "exact_match"), None),
        cost_usd=manifest.job.cost_usd,
        report_url=report_url(manifest.report),
    )


def group_by_model(runs: Sequence[PastRun]) -> dict[tuple[str, str], list[PastRun]]:
    """The runs of each name and base model, the one that was trained last first."""
    groups: dict[tuple[str, str], list[PastRun]] = {}
    for run in reversed(runs):
        groups.setdefault((run.name, run.base_model), []).insert(0, run)
    return groups


def score_figure(runs: Sequence[PastRun]) -> go.Figure | None:
    """Exact match over time, a line for each of the models that were trained last; None where nothing was tested."""
    figure = go.Figure(layout=base_layout())
    for (name, model), group in group_by_model(runs).items():
        tested = [run for run in group if run.exact_match is not None][-_MOST_POINTS:]
        if tested and len(figure.data) < len(LIGHT.series):
            figure.add_scatter(
                x=[run.completed_at.astimezone(UTC) for run in tested],
                y=[run.exact_match for run in tested],
                name=f"{escape(name, 40)} ({escape(model, 40)})",
                mode="lines+markers",
                line={"color": LIGHT.series[len(figure.data)]},
            )
    figure.update_yaxes(title_text="exact match (%)", tickformat=".0%", range=[0, 1.02])
    figure.update_xaxes(title_text="trained at (UTC)")
    return figure if figure.data else None


def overview_markdown(
    runs: Sequence[PastRun],
    *,
    now: datetime,
    image: bytes | None,
    failures: Sequence[ListedRun],
    scheduled: Sequence[ListedRun],
    n_unreadable: int = 0,
) -> str:
    """Write the overview.

    Args:
        runs: Oldest first.
        now: Which month's money is counted.
        image: `score_figure` as SVG; None where nothing was tested.
        failures: The last runs that failed.
        scheduled: The next runs.
        n_unreadable: Runs that are there and can't be shown.

    Returns:
        Markdown of at most `MOST_BYTES` bytes.
    """
    spent = sum(
        run.cost_usd or 0 for run in runs if (run.completed_at.year, run.completed_at.month) == (now.year, now.month)
    )
    groups = group_by_model(runs)
    counts = f"{_count(len(groups), 'model')}, {_count(len(runs), 'complete run')}"
    parts = [
        "# Overview",
        f"{counts}; complete runs cost {format_usd(spent)} in {now:%B %Y}.",
        *_table(groups),
        *((f"{n_unreadable:,} more have manifests that can't be read.",) if n_unreadable else ()),
        "## Score over time",
        _drawn(image, len(groups)),
        "## Last failures",
        _list(failures) or "None.",
        "## Next runs",
        _list(scheduled) or "None is scheduled.",
    ]
    return ("\n\n".join(parts) + "\n").encode("utf-8", "replace")[:MOST_BYTES].decode("utf-8", "ignore")


def _table(groups: Mapping[tuple[str, str], Sequence[PastRun]]) -> Iterator[str]:
    if not groups:
        yield "Nothing was retrained yet."
        return
    header = (
        "| Model | Base model | Last retraining (UTC) | Exact match | Before | Runs |\n|---|---|---|---:|---:|---:|"
    )
    yield "\n".join([header, *(_row(*key, group) for key, group in list(groups.items())[:_MOST_MODELS])])
    if len(groups) > _MOST_MODELS:
        yield f"(The last {_MOST_MODELS} models of {len(groups):,}.)"


def _drawn(image: bytes | None, n_models: int) -> str:
    drawn = f"![Exact match over time](data:image/svg+xml;base64,{base64.b64encode(image).decode()})" if image else ""
    if not drawn or len(drawn) > MOST_BYTES // 2:
        return "*Not drawn: no score yet, or too many runs. The table has the last scores.*"
    if n_models > len(LIGHT.series):
        return f"{drawn}\n\n*The {len(LIGHT.series)} models that were trained last.*"
    return drawn


def _list(runs: Sequence[ListedRun]) -> str:
    return "\n".join(f"- {_when(run.moment)}, {link(run.name, _flow_run_path(run))}{_says(run)}" for run in runs)


def _flow_run_path(run: ListedRun) -> str:
    # From the page that shows an artifact, in both of Prefect's user interfaces, whatever address they have.
    return f"../../runs/flow-run/{quote(run.id, safe='')}"


def _says(run: ListedRun) -> str:
    return f": {escape(run.says, 300)}" if run.says else ""


def _when(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if moment else "unknown time"


def _row(name: str, base_model: str, group: Sequence[PastRun]) -> str:
    last = group[-1]
    before = group[-2].exact_match if len(group) > 1 else None
    completed_at = f"{last.completed_at.astimezone(UTC):%Y-%m-%d %H:%M}"
    cells = (
        link(name, f"../key/{summary_key(name)}"),
        escape(base_model, 60),
        link(completed_at, last.report_url) if last.report_url else completed_at,
        _percent(last.exact_match),
        _percent(before),
        str(len(group)),
    )
    return f"| {' | '.join(cells)} |"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _percent(score: float | None) -> str:
    return "–" if score is None else f"{score:.1%}"
