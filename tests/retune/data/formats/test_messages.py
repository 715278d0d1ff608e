import json
from typing import Any

import pytest
from rows_source import Choose, MakeSource, Read

from retune.config import SplitConfig
from retune.data.example.example import Example
from retune.data.problems.problems import Finding
from retune.errors import SourceError

ASKED = {"role": "user", "content": "Where is my card?"}
ANSWERED = {"role": "assistant", "content": "On its way."}
CHAT = [ASKED, ANSWERED]
TOOLS = [{"type": "function", "function": {"name": "find"}}]


def body_of(examples: list[Example]) -> dict[str, Any]:
    [example] = examples
    assert example.findings == ()
    return example.body


def test_a_line_of_chat_jsonl_is_taken_as_it_is(make_source: MakeSource, read: Read) -> None:
    line = {"tools": TOOLS, "messages": CHAT, "parallel_tool_calls": False}
    assert list(body_of(read(make_source([line]))).items()) == list(line.items())


def test_what_no_provider_takes_beside_the_messages_stays_out(make_source: MakeSource, read: Read) -> None:
    line = {"tools": [], "messages": CHAT, "functions": None, "id": 7}
    assert body_of(read(make_source([line]))) == {"messages": CHAT}


def test_another_columns_neighbours_are_no_part_of_it(make_source: MakeSource, read: Read) -> None:
    line = {"id": 7, "turns": CHAT, "tools": TOOLS}
    assert body_of(read(make_source([line]), messages_column="turns")) == {"tools": TOOLS, "messages": CHAT}


def test_the_splits_columns_are_no_part_of_it(make_source: MakeSource, read: Read) -> None:
    split = SplitConfig(method="column", column="part")
    [example] = read(make_source([{"messages": CHAT, "part": "test"}]), split=split)
    assert example.body == {"messages": CHAT}
    assert example.keys.declared_split == "test"


def test_a_line_of_another_shape_says_what_it_has(make_source: MakeSource, read: Read) -> None:
    good, odd = read(make_source([{"messages": CHAT}, {"prompt": "q", "completion": "a"}]))
    assert good.findings == ()
    message = "expected a list of messages in messages, found none; there is: prompt, completion."
    assert odd.findings == (Finding("other_shape", message),)


@pytest.mark.parametrize(
    "cell", [CHAT, json.dumps(CHAT), json.dumps(CHAT).encode(), json.dumps({"messages": CHAT}), str(CHAT)]
)
def test_messages_may_be_written_as_json(
    make_source: MakeSource, read: Read, cell: bytes | list[dict[str, str]] | str
) -> None:
    assert body_of(read(make_source([{"messages": cell, "id": "7"}], file_format="csv"))) == {"messages": CHAT}


def test_settings_stand_in_columns_of_their_own(make_source: MakeSource, read: Read, choose: Choose) -> None:
    row = {"messages": CHAT, "tools": json.dumps(TOOLS), "parallel_tool_calls": "False", "functions": "", "id": 7}
    source = make_source([row], file_format="csv")
    assert body_of(read(source)) == {"tools": TOOLS, "parallel_tool_calls": False, "messages": CHAT}
    assert choose(source).title == "conversations in messages, with tools, parallel_tool_calls, functions"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("hello", "column messages: expected a JSON list of messages, but it isn't JSON (Expecting value: "),
        ("[{'role': user}]", "It is in Python's notation: write the column with json.dumps."),
        ("[" * 5000, "(nested too deeply)"),
    ],
)
def test_a_cell_that_is_not_json_is_a_finding(make_source: MakeSource, read: Read, cell: str, message: str) -> None:
    good, bad = read(make_source([{"messages": json.dumps(CHAT)}, {"messages": cell}], file_format="csv"))
    assert good.body == {"messages": CHAT}
    assert bad.body == {}
    [finding] = bad.findings
    assert finding.kind == "cell_not_messages"
    assert message in finding.message


def test_settings_that_are_not_json_are_a_finding(make_source: MakeSource, read: Read) -> None:
    [example] = read(make_source([{"messages": CHAT, "tools": "[{"}], file_format="parquet"))
    assert [finding.kind for finding in example.findings] == ["bad_tools"]


def test_a_conversation_keeps_its_own(make_source: MakeSource, read: Read) -> None:
    own = [{"role": "developer", "content": "Be kind."}, *CHAT]
    first, second = read(make_source([{"messages": own}, {"messages": CHAT}]), system="Be brief.")
    assert first.body["messages"] == own
    assert second.body["messages"] == [{"role": "system", "content": "Be brief."}, *CHAT]


@pytest.mark.parametrize("messages", ["text", 3, {}, [], ["text"]])
def test_values_other_than_messages_are_left_to_the_checks(make_source: MakeSource, read: Read, messages: Any) -> None:
    [_, example] = read(make_source([{"messages": CHAT}, {"messages": json.dumps(messages)}]), system="Be brief.")
    assert example.findings == ()


SHARED = [
    {"from": "system", "value": "Be kind."},
    {"from": "human", "value": "Where is my card?"},
    {"from": "gpt", "value": "On its way.", "weight": 0},
]


def test_sharegpt_is_converted_to_messages(make_source: MakeSource, read: Read, choose: Choose) -> None:
    source = make_source([{"conversations": SHARED, "id": 7}])
    assert choose(source).title == "conversations in conversations (ShareGPT)"
    assert body_of(read(source)) == {
        "messages": [{"role": "system", "content": "Be kind."}, ASKED, {**ANSWERED, "weight": 0}]
    }


def test_an_unknown_name_stays_for_the_checks_to_find(make_source: MakeSource, read: Read) -> None:
    [example] = read(make_source([{"conversations": [*SHARED, {"from": "narrator", "value": "x"}]}]))
    assert example.body["messages"][-1] == {"role": "narrator", "content": "x"}


def test_calls_of_functions_become_tool_calls(make_source: MakeSource, read: Read) -> None:
    calls = [{"name": "find", "arguments": {"id": 7}}, {"name": "count", "arguments": "{}"}]
    row = {
        "conversations": [
            {"from": "human", "value": "Where, and how many?"},
            {"from": "function_call", "value": json.dumps(calls)},
            {"from": "observation", "value": '[{"shelf": 4}, 3]'},
            {"from": "gpt", "value": "Shelf 4 has three."},
            {"from": "function_call", "value": json.dumps(calls[0])},
            {"from": "tool", "value": "gone"},
            {"from": "gpt", "value": "Now it has none."},
        ],
        "tools": json.dumps([{"name": "find", "parameters": {}}, TOOLS[0]]),
    }
    body = body_of(read(make_source([row])))
    asked, called, shelf, three, answered, again, gone, _ = body["messages"]
    assert (asked["role"], answered["content"]) == ("user", "Shelf 4 has three.")
    assert [call["function"] for call in called["tool_calls"]] == [
        {"name": "find", "arguments": '{"id": 7}'},
        {"name": "count", "arguments": "{}"},
    ]
    first, second = (call["id"] for call in called["tool_calls"])
    assert shelf == {"role": "tool", "tool_call_id": first, "content": '{"shelf": 4}'}
    assert three == {"role": "tool", "tool_call_id": second, "content": "3"}
    assert gone == {"role": "tool", "tool_call_id": again["tool_calls"][0]["id"], "content": "gone"}
    assert body["tools"] == [{"type": "function", "function": {"name": "find", "parameters": {}}}, TOOLS[0]]


@pytest.mark.parametrize("value", ["I call find.", "{}", '[{"name": "find"}, 3]', "null"])
def test_a_call_that_does_not_fit_stays_as_it_is(make_source: MakeSource, read: Read, value: str) -> None:
    [example] = read(make_source([{"conversations": [*SHARED, {"from": "function_call", "value": value}]}]))
    assert example.body["messages"][-1] == {"role": "function_call", "content": value}


def test_threads_have_their_content_under_text(make_source: MakeSource, read: Read, choose: Choose) -> None:
    thread = [{"text": "Where is my card?", "role": "prompter"}, {"text": "On its way.", "role": "assistant"}]
    source = make_source([{"thread": thread, "source": "made up"}])
    assert choose(source).title == "conversations in thread (roles and contents made into the API's)"
    assert body_of(read(source)) == {"messages": CHAT}


def test_the_same_column_may_hold_chat_messages(make_source: MakeSource, read: Read, choose: Choose) -> None:
    source = make_source([{"conversations": CHAT}])
    assert choose(source).title == "conversations in conversations"
    assert body_of(read(source)) == {"messages": CHAT}


@pytest.mark.parametrize(
    "names",
    [
        ("question_1", "answer_1", "question_2", "answer_2"),
        ("turn1_user", "turn1_assistant", "turn2_user", "turn2_assistant"),
        ("Q1", "A1", "Q2", "A2"),
        ("prompt 1", "response 1", "prompt 2", "response 2"),
    ],
)
def test_turns_in_numbered_columns_are_a_conversation(
    make_source: MakeSource,
    read: Read,
    choose: Choose,
    names: tuple[str, str, str, str],
) -> None:
    texts = ("Where is my card?", "On its way.", "Since when?", "Monday.")
    rows = [dict(zip(names, texts, strict=True)), dict(zip(names, (*texts[:2], "", ""), strict=True))]
    source = make_source(rows, file_format="csv")
    more = [{"role": "user", "content": "Since when?"}, {"role": "assistant", "content": "Monday."}]
    assert [example.body["messages"] for example in read(source)] == [[*CHAT, *more], CHAT]
    assert choose(source).title == f"turns in {', '.join(names)}"


@pytest.mark.parametrize("names", [("question_1", "answer_1"), ("answer_1", "answer_2"), ("user_1", "user_2", "bot_1")])
def test_numbers_alone_make_no_turns(make_source: MakeSource, choose: Choose, names: tuple[str, ...]) -> None:
    with pytest.raises(SourceError):
        choose(make_source([dict.fromkeys(names, "text")]))
