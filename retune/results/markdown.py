"""The report in short, as Markdown for Prefect's artifact."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from retune.data.cost.estimate import format_usd
from retune.evaluation.comparison import format_seconds
from retune.results.links import RunLink
from retune.results.report_data import ExampleRow, ModelAnswer, ReportData, SplitFacts

# Prefect's list endpoints return whole artifacts, so a big one slows every page that lists it.
MOST_BYTES = 190_000
_MOST_EXAMPLES = 10
_LONGEST_CELL = 160
_SAFE_IN_URLS = ":/?#@!$&'*+,;=%~"
# Everything that Markdown, GitHub's tables, HTML or MathJax might read as markup. An underscore inside a word is none.
_MARKUP = re.compile(r"[&<>|`*\[\]~\\$#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def markdown_summary(report: ReportData, svg_images: Mapping[str, bytes], *, links: Sequence[RunLink] = ()) -> str:
    """Write the report in short: result, figures, facts, warnings, a few test examples, and where the rest is.

    Args:
        report: The report.
        svg_images: Figures as `figures_svg` draws them; may be empty.
        links: Where job, model and report are.

    Returns:
        Markdown of at most `MOST_BYTES` bytes in UTF-8. The largest images are left out first, then examples.
    """
    images = dict(svg_images)
    n_examples = _MOST_EXAMPLES
    while len((text := _summary(report, images, n_examples, links)).encode("utf-8", "replace")) > MOST_BYTES:
        if images:
            del images[max(images, key=lambda name: len(images[name]))]
        elif n_examples:
            n_examples -= 1
        else:
            return text.encode("utf-8", "replace")[:MOST_BYTES].decode("utf-8", "ignore")
    return text


def escape(text: str, longest: int = _LONGEST_CELL) -> str:
    """Text of the data for one line of Markdown, such as a table's cell: shortened, and read as plain text."""
    line = " ".join(text.split())
    short = line if len(line) <= longest else line[: longest - 1] + "…"
    return _MARKUP.sub(lambda match: f"&#{ord(match.group())};", short)


def link(text: str, url: str | None) -> str:
    """A link that reads as plain text; without an address, the text alone."""
    # A closing bracket, an angle or a space would end the address.
    return f"[{escape(text, 300)}]({quote(url, safe=_SAFE_IN_URLS)})" if url else escape(text, 300)


def _summary(report: ReportData, images: Mapping[str, bytes], n_examples: int, links: Sequence[RunLink]) -> str:
    parts = [
        *_result(report),
        *_links(links),
        *_figures(report, images),
        *_run(report),
        *_examples(report, n_examples),
    ]
    return "\n\n".join(parts) + "\n"


def _result(report: ReportData) -> Iterator[str]:
    yield f"# {escape(report.job.fine_tuned_model or report.job.id)}"
    if report.evaluation is None:
        yield "No test examples were held out, so the models were not compared."
        return
    evaluation = report.evaluation
    exact = next(row for row in evaluation.comparison if row.name == "exact_match")
    outcomes = evaluation.outcomes
    difference = f" ({exact.difference_text})" if exact.difference is not None else ""
    yield (
        f"**Exact match: base {exact.base_text}, fine-tuned {exact.fine_tuned_text}**{difference} on "
        f"{evaluation.fine_tuned.n:,} held-out examples; fine-tuning fixed {outcomes['fixed']:,} and broke "
        f"{outcomes['broken']:,}."
    )
    for note in evaluation.notes:
        yield f"> {escape(note, 400)}"
    yield "## Base against fine-tuned"
    rows = [
        (escape(row.title), row.shown("base"), row.shown("fine_tuned"), row.shown("difference"))
        for row in evaluation.comparison
    ]
    yield _table(("Score", "Base", "Fine-tuned", "Difference"), rows, align="lrrr")
    if evaluation.references:
        yield "\n".join(f"- {reference.sentence}" for reference in evaluation.references)


def _links(links: Sequence[RunLink]) -> Iterator[str]:
    if links:
        yield "\n".join(f"- {escape(one.title)}: {link(one.text, one.url)}" for one in links)


def _figures(report: ReportData, images: Mapping[str, bytes]) -> Iterator[str]:
    for figure in report.figures:
        if figure.name in images:
            encoded = base64.b64encode(images[figure.name]).decode()
            yield f"## {escape(figure.title)}"
            yield f"![{escape(figure.title)}](data:image/svg+xml;base64,{encoded})"
            yield f"*{escape(figure.caption, 400)}*"


def _run(report: ReportData) -> Iterator[str]:
    job, data = report.job, report.data
    facts = {
        "Data": data.source,
        **{split.name.capitalize(): _describe_split(split) for split in data.splits},
        "Base model": job.base_model,
        "Provider": job.provider_url,
        "Job": f"{job.id} ({job.status})",
        **{name: str(value) for name, value in job.hyperparameters.items()},
        "Trained tokens": f"{job.trained_tokens:,}" if job.trained_tokens is not None else None,
        "Steps": f"{job.steps:,}" if job.steps is not None else None,
        "Training ran": format_seconds(job.running_seconds) if job.running_seconds is not None else None,
        "Cost (estimate)" if job.cost_is_estimated else "Cost": format_usd(job.cost_usd)
        if job.cost_usd is not None
        else None,
        "New jobs end": str(job.new_jobs_end) if job.new_jobs_end is not None else None,
        "Model answers until": str(job.shutdown) if job.shutdown is not None else None,
        "Best checkpoint": job.best_checkpoint,
        **{f"Time: {step.name}": format_seconds(step.seconds) for step in report.durations},
    }
    yield "## The run"
    rows = [(escape(name), escape(value)) for name, value in facts.items() if value is not None]
    yield _table(("Fact", "Value"), rows, align="ll")
    if report.warnings:
        yield "## What the checks found"
        yield "\n".join(f"- {escape(warning, 300)}" for warning in report.warnings[:20])


def _describe_split(split: SplitFacts) -> str:
    return f"{split.n_examples:,} examples{f' ({split.origin})' if split.origin else ''}"


def _examples(report: ReportData, n_examples: int) -> Iterator[str]:
    shown = report.evaluation.examples[:n_examples] if report.evaluation else []
    if not shown:
        return
    yield "## Some test examples"
    rows = [(_question(row), escape(row.expected), _answer(row.base), _answer(row.fine_tuned)) for row in shown]
    yield _table(("Prompt", "Expected", "Base model", "Fine-tuned model"), rows, align="llll")


def _question(row: ExampleRow) -> str:
    return escape(str(row.prompt[-1]["content"])) if row.prompt else ""


def _answer(answer: ModelAnswer) -> str:
    text = answer.content if answer.content is not None else f"({answer.error})"
    return f"{'✓' if answer.is_right else '✗'} {escape(text)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, align: str) -> str:
    rules = ["---:" if letter == "r" else "---" for letter in align]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rules, *rows))
