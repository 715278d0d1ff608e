"""What stands beside question and answer: a system prompt, earlier turns, tools, what a question is about."""

import json
from typing import Any

import pytest
from rows_source import Choose, MakeSource, Read

from retune.data.example.example import Example
from retune.data.problems.problems import Finding

SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = {"role": "user", "content": "Is the shop open?"}
ANSWERED = {"role": "assistant", "content": "Until six."}
EARLIER = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good morning."}]
PAIRS = [["Hello", "Good morning."]]
TOOLS = [{"type": "function", "function": {"name": "hours"}}]

SHAREGPT = [{"from": "human", "value": ASKED["content"]}, {"from": "gpt", "value": ANSWERED["content"]}]

EVERY_ROW = [
    {"question": ASKED["content"], "answer": ANSWERED["content"]},
    {"prompt": ASKED["content"], "completion": ANSWERED["content"]},
    {"instruction": ASKED["content"], "input": "", "output": ANSWERED["content"]},
    {"messages": [ASKED, ANSWERED]},
    {"conversations": SHAREGPT},
    {"request": [ASKED], "response": ANSWERED},
    {"prompt": ASKED["content"], "chosen": ANSWERED["content"], "rejected": "No."},
    {"instruction": ASKED["content"], "input": "", "chosen": ANSWERED["content"], "rejected": "No."},
    {"chosen": [ASKED, ANSWERED], "rejected": [ASKED, {"role": "assistant", "content": "No."}]},
]


def conversation_of(examples: list[Example]) -> tuple[Any, ...]:
    """The messages, and the tools, wherever the method has them."""
    *_, example = examples
    assert example.findings == ()
    inside = example.body.get("input", example.body)
    return [*inside["messages"], *example.body.get("preferred_output", [])], inside.get("tools")


each_row = pytest.mark.parametrize("row", EVERY_ROW)


@each_row
@pytest.mark.parametrize("column", ["system", "System_Prompt", "系统"])
def test_a_system_prompt_stands_first(
    make_source: MakeSource,
    read: Read,
    choose: Choose,
    row: dict[str, Any],
    column: str,
) -> None:
    rows = [row, {**row, column: SYSTEM["content"]}]
    messages, _ = conversation_of(read(make_source(rows)))
    assert messages == [SYSTEM, ASKED, ANSWERED]
    assert choose(make_source(rows)).title.endswith(f", system prompt with {column}")


@pytest.mark.parametrize(
    "history", [PAIRS, json.dumps(PAIRS), str(PAIRS), EARLIER, [{"user": "Hello", "assistant": "Good morning."}]]
)
@each_row
def test_earlier_turns_come_before(
    make_source: MakeSource,
    read: Read,
    choose: Choose,
    row: dict[str, Any],
    history: list[Any] | str,
) -> None:
    rows = [{**row, "history": []}, {**row, "history": history, "system": "Be brief."}]
    messages, _ = conversation_of(read(make_source(rows)))
    assert messages == [SYSTEM, *EARLIER, ASKED, ANSWERED]
    assert choose(make_source(rows)).title.endswith("earlier turns from history")


@each_row
@pytest.mark.parametrize("tools", [TOOLS, json.dumps(TOOLS), json.dumps([TOOLS[0]["function"]])])
def test_tools_come_with_it(
    make_source: MakeSource,
    read: Read,
    choose: Choose,
    row: dict[str, Any],
    tools: list[dict[str, Any]] | str,
) -> None:
    _, found = conversation_of(read(make_source([{**row, "tools": ""}, {**row, "tools": tools}])))
    assert found == TOOLS


@each_row
def test_the_named_system_prompt_wins(make_source: MakeSource, read: Read, row: dict[str, Any]) -> None:
    messages, _ = conversation_of(read(make_source([{**row, "system": "Be long."}]), system="Be brief."))
    assert messages == [SYSTEM, ASKED, ANSWERED]


def test_a_conversation_keeps_its_own_system_prompt_and_says_so(make_source: MakeSource, read: Read) -> None:
    own = [SYSTEM, ASKED, ANSWERED]
    rows = [{"messages": own, "system": said} for said in ("Be long.", "Be brief. ", "")]
    examples = read(make_source(rows))
    assert [example.body["messages"] for example in examples] == [own] * 3
    message = 'column system says "Be long.", and the conversation begins with "Be brief.".'
    assert [example.findings for example in examples] == [(Finding("system_conflict", message),), (), ()]


def test_a_column_named_tools_may_hold_words(make_source: MakeSource, read: Read) -> None:
    messages, tools = conversation_of(read(make_source([{"question": "q", "answer": "a", "tools": "hammer"}])))
    assert len(messages) == 2
    assert tools is None


@pytest.mark.parametrize("row", [EVERY_ROW[0], EVERY_ROW[6]])
def test_invalid_earlier_turns_are_reported(make_source: MakeSource, read: Read, row: dict[str, str]) -> None:
    good = [{**row, "history": PAIRS}] * 101
    *_, bad = read(make_source([*good, {**row, "history": "User: Hello"}]))
    message = 'column history: expected pairs of question and answer, or messages; found "User: Hello".'
    assert bad.findings == (Finding("cell_not_messages", message),)


def test_an_instruction_for_preferences_keeps_what_it_is_about(
    make_source: MakeSource, read: Read, choose: Choose
) -> None:
    row = {"instruction": "Sum up.", "input": "A text.", "chosen": "T", "rejected": "A"}
    [example] = read(make_source([row]))
    assert example.body["input"]["messages"] == [{"role": "user", "content": "Sum up.\n\nA text."}]
    assert choose(make_source([row])).title == "preference pairs in instruction, chosen, rejected, input"


def test_an_instruction_for_a_grader_keeps_what_it_is_about(make_source: MakeSource, read: Read) -> None:
    row = {"instruction": "Sum up.", "input": "A text.", "reference": "T"}
    [example] = read(make_source([row]), method="reinforcement")
    assert example.body == {"messages": [{"role": "user", "content": "Sum up.\n\nA text."}], "reference": "T"}
