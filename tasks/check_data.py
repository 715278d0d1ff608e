"""Find everything that is wrong with the examples before anything is paid for."""

import asyncio
import json
import logging
from pathlib import Path

import httpx
from prefect import get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.exceptions import PrefectException

from retune.config import Auto, SplitConfig
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset_checks.check import check_store
from retune.data.dataset_checks.report import CheckReport
from retune.errors import CheckError
from retune.results.markdown import escape
from tasks.runtime.steps import PERSISTED, by_content, step
from tasks.runtime.values import CheckedData, LoadedData

_LOG_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "note": logging.INFO}
_SHOWN_PER_KIND = 5
_LONGEST_TEXT = 300
# Prefect sends the whole of every artifact wherever it lists them.
_MOST_BYTES = 150_000


@step("check", cache_policy=by_content(), **PERSISTED)
async def check_data(data: LoadedData, split: SplitConfig, model: str, n_epochs: Auto | int) -> CheckedData:
    """Check all examples and write `check_report.json`; errors stop the run, warnings don't.

    What was found is published as a table too: of every kind the first places.

    Args:
        data: The examples.
        split: How they will be split.
        model: The base model.
        n_epochs: Passes over the training file, or "auto".

    Raises:
        CheckError: With all kinds of errors, their counts, and the first places.
        RunDirectoryError: The report can't be written.
    """
    path = data.run.path("check_report.json")
    report = await asyncio.to_thread(_check, data, split, model, n_epochs, path)
    _log_problems(report, path)
    await _publish_problems(report, data)
    _raise_for_errors(report, path)
    if report.cost is None:
        raise CheckError(f"What the training takes can't be said: {report.not_applied.get('cost')}.")
    return CheckedData(
        run=data.run,
        examples=data.examples,
        report=path,
        warnings=report.summarize_warnings(),
        cost=report.cost,
    )


def _check(data: LoadedData, split: SplitConfig, model: str, n_epochs: Auto | int, path: Path) -> CheckReport:
    store = ExampleStore(data.examples.directory)
    return check_store(store, split, model=model, n_epochs=n_epochs, path=path)


def _raise_for_errors(report: CheckReport, path: Path) -> None:
    try:
        report.raise_for_errors()
    except CheckError as error:
        raise CheckError(error.message, hint=f"All of them, with their places, are in {path}.") from None


def _log_problems(report: CheckReport, path: Path) -> None:
    for group in report.groups:
        level = _LOG_LEVELS[group.level]
        first = group.first[0]
        more = f"; {group.count - 1:,} more of this kind in {path}" if group.count > 1 else ""
        get_run_logger().log(level, "%s, %s: %s%s", group.kind, first.location, first.message, more)


async def _publish_problems(report: CheckReport, data: LoadedData) -> None:
    if not report.groups:
        return
    try:
        await acreate_table_artifact(
            key=f"check-{data.run.key[:12]}",
            table=problem_rows(report),
            description=f"{report.n_errors:,} errors and {report.n_warnings:,} warnings in {escape(data.source)}",
        )
    except (httpx.HTTPError, PrefectException) as error:
        # All of it is in the check report.
        get_run_logger().warning("The table of problems could not be published as an artifact: %s", error)


def problem_rows(report: CheckReport) -> list[dict[str, object]]:
    """The first places of every kind of problem, as rows for people; as many as an artifact should hold.

    Cells are shown as text, never as HTML or Markdown.
    """
    rows: list[dict[str, object]] = []
    size = 0
    for group in report.groups:
        for problem in group.first[:_SHOWN_PER_KIND]:
            row = {
                "kind": group.kind,
                "level": group.level,
                "how many": group.count,
                "where": plain_text(problem.location),
                "what": plain_text(problem.message),
                "what to do": group.hint,
            }
            size += len(json.dumps(row))
            if size > _MOST_BYTES:
                return rows
            rows.append(row)
    return rows


def plain_text(text: str) -> str:
    """Text without what a database or a terminal would take for something else, shortened."""
    # Half of a surrogate pair is not printable, nor is the NUL that PostgreSQL refuses.
    cleaned = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return cleaned if len(cleaned) <= _LONGEST_TEXT else f"{cleaned[: _LONGEST_TEXT - 1]}…"
