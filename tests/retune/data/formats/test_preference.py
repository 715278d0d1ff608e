import json
from typing import Any

import pytest
from rows_source import Choose, MakeSource, Read

from retune.data.example.example import Example

ASKED = {"role": "user", "content": "Who?"}
GOOD = {"role": "assistant", "content": "Me."}
BAD = {"role": "assistant", "content": "You."}
SYSTEM = {"role": "system", "content": "Be brief."}
TOOLS = [{"type": "function", "function": {"name": "find"}}]
LINE = {"input": {"messages": [ASKED]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]}


def body_of(examples: list[Example]) -> dict[str, Any]:
    [example] = examples
    assert example.findings == ()
    return example.body


@pytest.mark.parametrize(
    "row",
    [
        LINE,
        {key: json.dumps(value) for key, value in LINE.items()},
        {"input": LINE["input"], "preferred_completion": [GOOD], "non_preferred_completion": [BAD]},
        {"prompt": "Who?", "chosen": "Me.", "rejected": "You."},
        {"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD], "score": 3},
        {"prompt": str([ASKED]), "chosen": str([GOOD]), "rejected": str([BAD])},
        {"prompt": [ASKED], "chosen": GOOD, "rejected": BAD},
        {"prompt": "Who?", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
        {"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
        {"question": "Who?", "chosen": "Me.", "rejected": "You."},
        {"Prompt": json.dumps([ASKED]), "Chosen": json.dumps([GOOD]), "Rejected": json.dumps(BAD)},
        {
            "conversations": [{"from": "human", "value": "Who?"}],
            "chosen": {"from": "gpt", "value": "Me."},
            "rejected": {"from": "gpt", "value": "You."},
        },
    ],
)
def test_every_usual_way_becomes_what_the_api_takes(
    make_source: MakeSource,
    read: Read,
    choose: Choose,
    row: dict[str, Any],
) -> None:
    source = make_source([row])
    assert body_of(read(source)) == LINE
    assert choose(source, "dpo").method == choose(source).method == "dpo"


def test_the_title_names_the_columns(make_source: MakeSource, choose: Choose) -> None:
    assert choose(make_source([LINE])).title == ("preference pairs in input, preferred_output, non_preferred_output")


def test_tools_stay_with_the_input(make_source: MakeSource, read: Read) -> None:
    given = {"messages": [ASKED], "tools": [], "parallel_tool_calls": True}
    assert body_of(read(make_source([{**LINE, "input": given}])))["input"] == given
    assert body_of(read(make_source([{**LINE, "tools": json.dumps(TOOLS)}])))["input"] == {
        "messages": [ASKED],
        "tools": TOOLS,
    }


def test_turns_before_the_answer_belong_to_the_input(make_source: MakeSource, read: Read) -> None:
    first, again = {"role": "assistant", "content": "Well."}, {"role": "user", "content": "So?"}
    rows = [{"prompt": [ASKED], "chosen": [first, again, GOOD], "rejected": [first, again, BAD]}]
    assert body_of(read(make_source(rows))) == {**LINE, "input": {"messages": [ASKED, first, again]}}


def test_a_prompt_that_both_answers_repeat_keeps_its_system_message(make_source: MakeSource, read: Read) -> None:
    rows = [{"prompt": [SYSTEM, ASKED], "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}]
    assert body_of(read(make_source(rows)))["input"] == {"messages": [SYSTEM, ASKED]}


def test_answers_after_different_turns_are_left_to_the_checks(make_source: MakeSource, read: Read) -> None:
    row = {"prompt": "Who?", "chosen": [ASKED, GOOD], "rejected": [{**ASKED, "content": "x"}, BAD]}
    assert len(body_of(read(make_source([row])))["preferred_output"]) == 2


def test_the_system_prompt_stands_first(make_source: MakeSource, read: Read) -> None:
    assert body_of(read(make_source([LINE]), system="Be brief."))["input"]["messages"] == [SYSTEM, ASKED]


def test_a_text_that_starts_with_a_brace_stays_a_text(make_source: MakeSource, read: Read) -> None:
    row = {"prompt": "{x}", "chosen": '{"role": "cook", "name": "Bob"}', "rejected": "[1, 2]"}
    body = body_of(read(make_source([row])))
    assert body["input"]["messages"] == [{"role": "user", "content": "{x}"}]
    assert body["preferred_output"][0]["content"] == row["chosen"]
    assert body["non_preferred_output"][0]["content"] == "[1, 2]"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "x", "chosen": "y"}, "expected prompt, chosen, rejected; there is nothing in rejected."),
        ({"question": "x"}, "expected prompt, chosen, rejected; there is nothing in prompt, chosen, rejected."),
        (
            {"prompt": {"messages": "x"}, "chosen": "y", "rejected": "z"},
            'prompt: expected a list of messages, found "x".',
        ),
    ],
)
def test_row_without_a_preference_pair_is_a_finding(
    make_source: MakeSource, read: Read, row: dict[str, Any], message: str
) -> None:
    source = make_source([{"prompt": "Who?", "chosen": "Me.", "rejected": "You."}, row])
    [_, example] = read(source)
    assert example.body == {}
    [finding] = example.findings
    assert (finding.kind, finding.message) == ("bad_preference", message)
