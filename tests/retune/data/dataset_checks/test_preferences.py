from pathlib import Path
from typing import Any

from example_stores import make_store

from retune.config import SplitConfig
from retune.data.dataset_checks.context import CheckContext
from retune.data.dataset_checks.duplicates import check_preferences
from retune.data.example.example import Method
from retune.data.problems.problems import Problem

MODEL = "gpt-4.1-mini-2025-04-14"


def pair(asked: str, preferred: str, other: str) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": asked}]},
        "preferred_output": [{"role": "assistant", "content": preferred}],
        "non_preferred_output": [{"role": "assistant", "content": other}],
    }


def found(directory: Path, *bodies: dict[str, Any], method: Method = "dpo") -> list[tuple[str, int | None, str]]:
    store = make_store(directory, list(bodies), method=method)
    problems = check_preferences(CheckContext.of(store, SplitConfig(), MODEL))
    return [(problem.kind, problem.number, problem.message) for problem in problems if isinstance(problem, Problem)]


def test_pairs_that_prefer_each_others_worse_answer_are_named(tmp_path: Path) -> None:
    assert found(tmp_path, pair("Who?", "A", "B"), pair("What?", "A", "B"), pair("Who?", "B", "A")) == [
        ("conflicting_preference", 4, "prefers the answer that row 2 avoids, and avoids the one that it prefers.")
    ]


def test_other_pairs_may_ask_the_same(tmp_path: Path) -> None:
    pairs = [pair("Who?", "A", "B"), pair("Who?", "B", "C"), pair("What?", "B", "A"), pair("Who?", "A", "B")]
    assert found(tmp_path, *pairs, pair("Where?", "A", "A"), pair("Where?", "A", "A ")) == []
    assert found(tmp_path / "none", pair("Who?", "A", "B")) == []


def test_the_same_twice_undoes_nothing(tmp_path: Path) -> None:
    assert found(tmp_path, pair("Where?", "A", "A"), pair("Where?", "A", "A")) == []
