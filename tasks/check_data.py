"""Find everything that is wrong with the examples before anything is paid for."""

import asyncio

from prefect import get_run_logger, task

from retune.data.checks import check_examples
from retune.data.problems import CheckReport
from retune.data.stored_examples import read_stored_examples
from retune.files import write_json
from tasks.policies import PERSISTED, by_content
from tasks.values import CheckedData, LoadedData

_MOST_LOGGED = 20


@task(cache_policy=by_content(), **PERSISTED)
async def check_data(data: LoadedData) -> CheckedData:
    """Check all examples and write `check_report.json`; errors stop the run, warnings don't.

    Raises:
        CheckError: With all kinds of errors, their counts, and the first places.
    """
    path = data.run.path("check_report.json")
    report = await asyncio.to_thread(_check, data)
    await asyncio.to_thread(write_json, path, report.model_dump(mode="json"))
    for problem in report.warnings[:_MOST_LOGGED]:
        get_run_logger().warning("%s: %s", problem.location, problem.message)
    if len(report.warnings) > _MOST_LOGGED:
        get_run_logger().warning("… and %d more warnings in %s", len(report.warnings) - _MOST_LOGGED, path)
    report.raise_for_errors()
    return CheckedData(run=data.run, examples=data.examples, report=path, warnings=report.summarize_warnings())


def _check(data: LoadedData) -> CheckReport:
    return check_examples(read_stored_examples(data.examples.path))
