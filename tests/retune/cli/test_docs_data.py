"""docs/data.md and docs/checks.md say what is so: the table of checks, the examples, its commands, its keys."""

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from preloaded import run_preloaded

from retune.data.problems.rules import RULES

REPOSITORY = Path(__file__).parents[3]
PAGE = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
CHECKS = (REPOSITORY / "docs" / "checks.md").read_text(encoding="utf-8")

EXAMPLES = re.findall(r"`(\w+\.\w+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [
    command.replace("\\\n", " ")
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for command in re.findall(r"retune (?:\\\n|[^\n])+", block)
]
SHAPES = {
    "tickets.csv": ("columns question → answer", "supervised"),
    "chat.jsonl": ("conversations in messages", "supervised"),
    "chats.csv": ("conversations of one message a row", "supervised"),
    "old.jsonl": ("prompt and completion", "supervised"),
    "pairs.jsonl": ("preference pairs", "dpo"),
    "calls.jsonl": ("logged calls, request → response", "supervised"),
    "items.jsonl": ("reinforcement items", "reinforcement"),
}


def check(directory: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_BASE_URL"}
    done = run_preloaded("retune.cli.app", [*arguments, "--json"], cwd=directory, env=environment, timeout=120)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_the_table_of_checks_is_that_of_the_rules() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (error|warning|note) \| (.+?) \| (.+?) \|$", CHECKS, re.MULTILINE)

    documented = {kind: (level, hint.replace("\\|", "|")) for kind, level, _, hint in rows}

    assert documented == {kind: (rule.level, rule.hint) for kind, rule in RULES.items()}


def test_a_hint_names_fix_where_that_fixes_it_and_nowhere_else() -> None:
    assert {kind for kind, rule in RULES.items() if "--fix" in rule.hint} == {
        kind for kind, rule in RULES.items() if rule.fixed_by
    }


@pytest.mark.parametrize(("name", "content"), EXAMPLES)
def test_its_examples_are_of_the_shapes_that_it_says(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    shape, method = SHAPES[name]

    _, document = check(tmp_path, "check", name)

    assert document["shape"].startswith(shape)
    assert document["method"] == method
    # One example is too few; nothing else is wrong with it.
    assert {group["kind"] for group in document["groups"] if group["level"] == "error"} == {"too_few_examples"}


def test_it_has_an_example_of_every_shape() -> None:
    assert {name for name, _ in EXAMPLES} == SHAPES.keys()


@pytest.mark.parametrize("command", [command for command in COMMANDS if "postgresql://" not in command])
def test_commands_of_the_data_page_run(command: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")

    status, document = check(tmp_path, *shlex.split(command)[1:])

    assert status == 0
    assert document["n_errors"] == 0
    rows = PAGE.split("| Key |")[1].split("\n\n")[0].splitlines()
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row.split(" | ")[0])} == document.keys()


def test_commands_were_found() -> None:
    assert len(COMMANDS) >= 4
