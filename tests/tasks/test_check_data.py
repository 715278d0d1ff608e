"""What the checks say of the examples of a run: the report, and a table in Prefect, which is small and plain text."""

import json
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from step_runs import Rows, check, configuration, write_csv

from retune.data.dataset_checks.report import CheckReport
from retune.data.problems.problems import Problem, ProblemGroup
from retune.data.problems.rules import RULES
from retune.errors import CheckError
from tasks.check_data import plain_text, problem_rows
from tasks.load_data import load_data

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


async def test_places_follow_the_source(tmp_path: Path, rows: Rows) -> None:
    doubled = [*rows, rows[0]]
    first = await load_data(configuration(write_csv(tmp_path / "data.csv", doubled)))
    config = configuration(write_csv(tmp_path / "data.csv", [("", ""), *doubled]))
    second = await load_data(config)
    assert (second.run, second.examples.content_sha256) == (first.run, first.examples.content_sha256)
    report = (await check(config, second)).report.read_text(encoding="utf-8")
    assert '"number": 63' in report.replace('"number":63', '"number": 63')


async def test_prefect_shows_what_the_checks_found(tmp_path: Path, rows: Rows) -> None:
    hostile = "<script>alert(1)</script> [x](javascript:alert(1)) \x00"
    config = configuration(write_csv(tmp_path / "data.csv", [*rows, (hostile, "a"), (hostile, "a"), ("empty", "")]))
    data = await load_data(config)
    with pytest.raises(CheckError, match=r"empty_content|missing_content"):
        await check(config, data)
    async with get_client() as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[f"check-{data.run.key[:12]}"]))
        (artifact,) = await client.read_artifacts(artifact_filter=wanted)
    assert artifact.type == "table"
    table: Any = json.loads(artifact.data) if isinstance(artifact.data, str) else artifact.data
    assert {"duplicate_example"} < {row["kind"] for row in table}
    assert table[0]["level"] == "error"
    assert "\x00" not in str(table)
    assert data.run.path("check_report.json").exists()


def report(message: str) -> CheckReport:
    groups = [
        ProblemGroup(
            kind=kind,
            level=rule.level,
            count=1_000,
            hint=rule.hint,
            first=[
                Problem(kind=kind, level=rule.level, location=f"row {n}", message=message, hint=rule.hint)
                for n in range(20)
            ],
        )
        for kind, rule in RULES.items()
    ]
    return CheckReport(
        source="a.csv",
        shape="columns q → a",
        method="supervised",
        model="baseline-text",
        n_examples=9,
        tokens=None,
        token_histogram=[],
        labels=None,
        splits=None,
        cost=None,
        groups=groups,
        not_applied={},
        problems_file=Path("check_report.json"),
    )


def test_a_table_stays_small_whatever_was_found() -> None:
    rows = problem_rows(report("長い言葉" * 10_000))
    assert len(json.dumps(rows).encode()) < 200_000
    assert len(rows) > 50


def test_table_shows_the_first_places_of_each_problem() -> None:
    rows = problem_rows(report("short"))
    assert [row["where"] for row in rows[:6]] == ["row 0", "row 1", "row 2", "row 3", "row 4", "row 0"]
    assert {row["kind"] for row in rows} == set(RULES)


def test_cells_hold_what_every_database_takes() -> None:
    assert plain_text("a\x00b\ud800c\u202ed\ne") == "a�b�c�d�e"
    assert plain_text("x" * 301) == "x" * 299 + "…"
