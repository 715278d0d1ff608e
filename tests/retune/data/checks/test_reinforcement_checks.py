from typing import Any

import pytest

from retune.data.checks.structure import check_structure
from retune.data.problems.rules import RULES

USER = {"role": "user", "content": "How many donors and acceptors has CCN(CC)CCC(=O)c1sc(N)nc1C?"}
ASSISTANT = {"role": "assistant", "content": "Five."}
ITEM = {"messages": [USER], "reference_answer": {"donor_bond_counts": 5, "acceptor_bond_counts": 7}}


def found(**changes: Any) -> list[tuple[str, str]]:
    body = {key: value for key, value in (ITEM | changes).items() if value is not ...}
    return [(finding.kind, finding.message) for finding in check_structure(body, "reinforcement", "openai")]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"messages": [{"role": "developer", "content": "Count."}, USER]},
        {"messages": [{"role": "system", "content": "Count."}, USER, ASSISTANT, USER]},
        # All keys but messages and tools are the grader's.
        {"input": "x", "functions": 7, "parallel_tool_calls": "yes", "preferred_output": []},
    ],
)
def test_valid_reinforcement_items_have_no_problem(changes: dict[str, Any]) -> None:
    assert found(**changes) == []


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"messages": ...}, "missing_messages", "expected a list of messages, found none."),
        ({"tools": 7}, "bad_tools", "expected tools as a list, found 7."),
        (
            {"messages": [USER, ASSISTANT]},
            "prompt_ends_with_answer",
            'the last message is of the role "assistant"; expected user, for the answer is sampled.',
        ),
    ],
)
def test_invalid_reinforcement_items_are_reported(changes: dict[str, Any], kind: str, message: str) -> None:
    assert found(**changes) == [(kind, message)]
    assert RULES[kind].level == "error"


def test_a_grader_needs_something_to_compare_with() -> None:
    assert [kind for kind, _ in found(reference_answer=...)] == ["missing_grader_fields"]
    assert RULES["missing_grader_fields"].level == "warning"
