from typing import Any

import pytest

from retune.data.checks.structure import check_structure
from retune.data.problems.rules import RULES

USER = {"role": "user", "content": "How cold is it?"}
PREFERRED = [{"role": "assistant", "content": "Between 14 and 20 degrees."}]
PAIR = {
    "input": {"messages": [USER], "tools": [], "parallel_tool_calls": True},
    "preferred_output": PREFERRED,
    "non_preferred_output": [{"role": "assistant", "content": "Not particularly cold."}],
}
PICTURE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}


def found(**changes: Any) -> list[tuple[str, str]]:
    body = {key: value for key, value in (PAIR | changes).items() if value is not ...}
    return [(finding.kind, finding.message) for finding in check_structure(body, "dpo", "openai")]


def test_valid_preference_pair_has_no_problem() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"input": ...}, "bad_preference", 'expected input as {"messages": […]}, found none.'),
        ({"input": "Hi"}, "bad_preference", 'expected input as {"messages": […]}, found "Hi".'),
        ({"input": {}}, "missing_messages", "expected a list of messages, found none."),
        (
            {"preferred_output": ...},
            "bad_preference",
            "expected preferred_output as a list of one assistant message, found none.",
        ),
        (
            {"non_preferred_output": PREFERRED * 2},
            "bad_preference",
            "expected non_preferred_output as a list of one assistant message, found 2 messages.",
        ),
        (
            {"preferred_output": "Yes"},
            "bad_preference",
            'expected preferred_output as a list of one assistant message, found "Yes".',
        ),
        (
            {"preferred_output": [USER]},
            "bad_preference",
            'preferred_output: expected a message of the role assistant, found "user".',
        ),
        (
            {"preferred_output": [{"role": "assistant"}]},
            "missing_content",
            "preferred_output, message 1 (assistant): no content; expected text.",
        ),
        (
            {"input": {"messages": [USER, PREFERRED[0]]}},
            "prompt_ends_with_answer",
            'the last message of input is of the role "assistant"; expected user or tool.',
        ),
        (
            {"input": {"messages": [PICTURE]}},
            "bad_content_part",
            "message 1 (user), part 1: an image; this method trains on text alone.",
        ),
    ],
)
def test_invalid_preference_pairs_are_reported(changes: dict[str, Any], kind: str, message: str) -> None:
    assert found(**changes) == [(kind, message)]
    assert RULES[kind].level == "error"


def test_former_names_of_the_outputs() -> None:
    findings = found(
        preferred_output=..., non_preferred_output=..., preferred_completion=["a"], non_preferred_completion=["b"]
    )
    assert findings == [
        ("bad_preference", "found preferred_completion, the former name of preferred_output; rename it."),
        ("bad_preference", "found non_preferred_completion, the former name of non_preferred_output; rename it."),
    ]


def test_equal_answers_and_unknown_keys_are_warnings() -> None:
    [finding] = found(non_preferred_output=PREFERRED)
    assert finding == ("same_preference", 'both answers are "Between 14 and 20 degrees.".')
    spaced = [{**PREFERRED[0], "content": f" {PREFERRED[0]['content']}\n"}]
    assert [kind for kind, _ in found(non_preferred_output=spaced)] == ["same_preference"]
    assert RULES["same_preference"].level == "warning"
    assert [kind for kind, _ in found(id=1)] == ["key_left_out"]
    assert [kind for kind, _ in found(input={"messages": [USER], "context": 1})] == ["unknown_example_key"]


def test_answers_may_call_tools() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}
    [(kind, message)] = found(preferred_output=[{"role": "assistant", "tool_calls": [call]}])
    assert kind == "bad_tool_call"
    assert message.startswith("preferred_output, call 1: the arguments are not JSON")
