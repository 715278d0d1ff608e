"""What the commands say of base models that end, and that no page tells anybody to train one that has a last day."""

import ast
import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from check_command import Check, good_rows, write_table
from faulty_proxy import Fault, faulty_proxy

from retune.check_result import CheckResult
from retune.check_source import CheckRequest, check_source
from retune.cli.check_advice import days_left_if_few, where_to_move
from retune.config_file import parse_config
from retune.data.cost.base_models import base_model, find_model, known_families
from retune.data.cost.model_dates import find_dates

REPOSITORY = Path(__file__).parents[3]
ENDED = "gpt-4.1-nano-2025-04-14"
PAGES = [REPOSITORY / "README.md", REPOSITORY / ".env.example", *sorted(REPOSITORY.glob("docs/*.md"))]
MODEL = re.compile(r"(?<![\w-])(?:gpt-\d[\w.-]*\w|o\d-\w[\w.-]*\w|babbage-002|davinci-002)")
# The names that the server takes for its own model, and those that have another tokenizer.
LISTS_OF_NAMES = {
    "retune/trainers/conditional_lm/trainer.py",
    "retune/training_lines/keys.py",
    "retune/data/cost/tokens.py",
}


def check_on(today: date, directory: Path, **training: Any) -> CheckResult:
    settings = parse_config({"data": {"source": "tickets.csv"}, "training": {"model": "gpt-4.1-mini", **training}})
    request = CheckRequest(settings, None, None, report_path=None, fix=None, may_overwrite=False, today=today)
    return check_source(request, directory, lambda _progress: None)


def test_check_refuses_what_has_ended(check: Check) -> None:
    write_table("tickets.csv", good_rows())

    refused = check("tickets.csv", "--model", ENDED)

    assert refused.status == 1
    assert f"OpenAI has ended {ENDED}: no new jobs since 2026-10-23" in refused.out
    assert "A run would stop here, before anything is uploaded." in refused.out
    assert "baseline-text" in refused.out
    document = check("tickets.csv", "--model", ENDED, "--json").document
    assert (document["has_ended"], document["is_too_expensive"]) == (True, False)
    assert document["dates"]["fine_tuned_shutdown"] == "2026-10-23"


def test_the_way_out_that_check_names_works(check: Check) -> None:
    write_table("tickets.csv", good_rows())

    ignored = check("tickets.csv", "--model", ENDED, "--ignore-dates")

    assert ignored.status == 0
    assert f"retune run --data tickets.csv --model {ENDED} --ignore-dates" in ignored.out
    assert check("tickets.csv", "--model", "baseline-text").status == 0
    assert check("tickets.csv", "--model", ENDED, "--provider", "retune").status == 0


@pytest.mark.parametrize(
    ("today", "status", "left"),
    [
        (date(2026, 11, 6), 0, None),
        (date(2026, 11, 7), 0, 60),
        (date(2027, 1, 5), 0, 1),
        (date(2027, 1, 6), 1, None),
        (date(2027, 1, 7), 1, None),
    ],
)
def test_check_at_fixed_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, today: date, status: int, left: int | None
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    write_table("tickets.csv", good_rows())

    result = check_on(today, tmp_path)

    assert (result.exit_status, days_left_if_few(result)) == (status, left)
    assert (where_to_move(result) is not None) is (left is not None)
    assert result.dates is not None
    assert result.dates.fine_tuned_shutdown == date(2027, 1, 14)


def test_the_list_of_models_says_when_they_end(retune: Any, training_server: str) -> None:
    days = {"ends-late": "2031-05-06", "goes-on": None}
    listed = [
        {"id": name, "object": "model", "created": 1, "owned_by": "me", "shutdown_date": days[name]} for name in days
    ]
    with faulty_proxy(training_server) as proxy:
        body = json.dumps({"object": "list", "data": listed}).encode()
        proxy.faults = [Fault("GET", "/models", status=200, body=body)]
        shown = retune("models", "list", "--base-url", proxy.base_url).stdout

    heading, *rows = [line.split() for line in shown.splitlines()]
    assert heading[-1] == "ends"
    assert {row[0]: row[-1] == "2031-05-06" for row in rows} == {"ends-late": True, "goes-on": False}


def test_the_dates_are_shown_without_a_network(retune: Any) -> None:
    shown = retune("models", "dates", OPENAI_BASE_URL="http://127.0.0.1:9/v1")

    assert shown.returncode == 0
    rows = {tuple(line.split()[:2]): line for line in shown.stdout.splitlines()}
    assert rows["openai", ENDED].split()[2:] == ["2026-10-23"] * 3
    assert "not before 2027-04-14" in rows["azure", ENDED]
    assert rows["azure", "gpt-3.5-turbo-0125"].count("not known") == 3
    assert "https://developers.openai.com/api/docs/deprecations" in shown.stderr
    document = json.loads(retune("models", "dates", "--json").stdout)
    assert all(row["source"].startswith("https://") and row["checked"] for row in document)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_models_that_we_know(page: Path) -> None:
    known = {*known_families()}
    unknown = [name for name in MODEL.findall(page.read_text(encoding="utf-8")) if not find_model(name)]
    assert [name for name in unknown if base_model(name) not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_example_trains_a_model_that_has_a_last_day(page: Path) -> None:
    # Not "has ended": such a test would fail one day, with no change of ours.
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert [name for block in blocks for name in MODEL.findall(block) if find_dates(name, "openai")] == []


def test_no_message_names_a_model_that_has_a_last_day() -> None:
    named = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for folder in ("retune", "tasks", "flows", "deployments")
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        if str(path.relative_to(REPOSITORY)) not in LISTS_OF_NAMES
        for text in _texts(ast.parse(path.read_text(encoding="utf-8")))
        for name in MODEL.findall(text)
        if find_model(name)
    }
    assert named == set()


def _texts(tree: ast.AST) -> Iterator[str]:
    """All texts of a program that are not docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
