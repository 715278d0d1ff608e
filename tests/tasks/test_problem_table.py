"""The table of problems that Prefect shows: small, and nothing but text."""

import json
from pathlib import Path

from retune.data.dataset_checks.report import CheckReport
from retune.data.problems.problems import Problem, ProblemGroup
from retune.data.problems.rules import RULES
from tasks.check_data import plain_text, problem_rows


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


def test_of_each_kind_the_first_places_are_shown() -> None:
    rows = problem_rows(report("short"))
    assert [row["where"] for row in rows[:6]] == ["row 0", "row 1", "row 2", "row 3", "row 4", "row 0"]
    assert {row["kind"] for row in rows} == set(RULES)


def test_cells_hold_what_every_database_takes() -> None:
    assert plain_text("a\x00b\ud800c\u202ed\ne") == "a�b�c�d�e"
    assert plain_text("x" * 301) == "x" * 299 + "…"
