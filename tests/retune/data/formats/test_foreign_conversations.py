"""Conversations as other services and programs write them."""

import json
from typing import Any

import pytest
from rows_source import Choose, MakeSource, Read

from retune.data.example.example import Example

SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = {"role": "user", "content": "Is the kiln hot?"}
ANSWERED = {"role": "assistant", "content": "Since noon."}
MORE = [{"role": "user", "content": "How hot?"}, {"role": "assistant", "content": "1,200 degrees."}]
CALLED: dict[str, Any] = {
    "role": "assistant",
    "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "gauge", "arguments": '{"kiln": 2}'}}],
}
SAID_BY_GEMINI = {"role": "model", "parts": [{"text": "Since noon."}]}
USED = {"name": "gauge", "input": {"kiln": 2}}
TOOL_USE = {"type": "tool_use", "id": "t1", **USED}
RESULT = {"role": "tool", "tool_call_id": "t1", "content": "1200"}
PARAMETERS = {"type": "object", "properties": {"kiln": {"type": "integer"}}}
TOOL = {"type": "function", "function": {"name": "gauge", "description": "d", "parameters": PARAMETERS}}


def body_of(examples: list[Example]) -> dict[str, Any]:
    [example] = examples
    assert example.findings == ()
    return example.body


@pytest.mark.parametrize(
    "row",
    [
        {"conversation": [{"human": "Is the kiln hot?", "assistant": "Since noon."}]},
        {"conversations": [{"user": "Is the kiln hot?", "assistant": "Since noon."}]},
        {"conversation": [{"input": "Is the kiln hot?", "output": "Since noon."}]},
        {"conversations": [{"role": "human", "value": "Is the kiln hot?"}, {"role": "gpt", "value": "Since noon."}]},
        {
            "conversations": [
                {"from": "human", "content": "Is the kiln hot?"},
                {"from": "gpt", "content": "Since noon."},
            ]
        },
        {"dialog": [{"speaker": "USER", "text": "Is the kiln hot?"}, {"speaker": "SYSTEM", "text": "Since noon."}]},
        {"messages": [{"role": "User", "content": "Is the kiln hot?"}, {"role": "Chatbot", "content": "Since noon."}]},
        {"messages": [{"role": "user", "content": "Is the kiln hot?"}, {"role": "model", "content": "Since noon."}]},
        {"messages": [{"author": "user", "content": "Is the kiln hot?"}, {"author": "bot", "content": "Since noon."}]},
        {"messages": [{"role": "user", "content": [{"text": "Is the kiln hot?"}]}, ANSWERED]},
        {
            "contents": [
                {"role": "user", "parts": [{"text": "Is the kiln hot?"}]},
                {"role": "model", "parts": [{"text": "Since noon."}]},
            ]
        },
        {"conversations": ["Is the kiln hot?", "Since noon."]},
        {"data": ["Is the kiln hot?", "Since noon."]},
        {"content_log": json.dumps([ASKED, {"role": "bot", "text": "Since noon."}])},
    ],
    ids=lambda row: json.dumps(row)[:60],
)
def test_each_way_to_write_a_conversation_gives_the_same_messages(
    make_source: MakeSource, read: Read, row: dict[str, Any]
) -> None:
    assert body_of(read(make_source([row]))) == {"messages": [ASKED, ANSWERED]}


@pytest.mark.parametrize(
    "row",
    [
        {
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            "tools": [{"name": "gauge", "description": "d", "input_schema": PARAMETERS}],
            "messages": [
                ASKED,
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "t1", "name": "gauge", "input": {"kiln": 2}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "1200"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "Since noon.", "citations": None}]},
            ],
        },
        {
            "system": [{"text": "Be brief."}],
            "tools": [{"toolSpec": {"name": "gauge", "description": "d", "inputSchema": {"json": PARAMETERS}}}],
            "messages": [
                {"role": "user", "content": [{"text": "Is the kiln hot?"}]},
                {
                    "role": "assistant",
                    "content": [{"toolUse": {"toolUseId": "t1", "name": "gauge", "input": {"kiln": 2}}}],
                },
                {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"json": 1200}]}}]},
                {"role": "assistant", "content": [{"text": "Since noon."}]},
            ],
        },
        {
            "systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]},
            "tools": [
                {
                    "functionDeclarations": [
                        {
                            "name": "gauge",
                            "description": "d",
                            "parameters": {"type": "OBJECT", "properties": {"kiln": {"type": "INTEGER"}}},
                        }
                    ]
                }
            ],
            "contents": [
                {"role": "user", "parts": [{"text": "Is the kiln hot?"}]},
                {"role": "model", "parts": [{"functionCall": {"id": "t1", "name": "gauge", "args": {"kiln": 2}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "gauge", "response": 1200}}]},
                {"role": "model", "parts": [{"text": "Since noon."}]},
            ],
        },
    ],
    ids=["anthropic", "bedrock", "gemini"],
)
def test_calls_among_the_parts_become_tool_calls(make_source: MakeSource, read: Read, row: dict[str, Any]) -> None:
    body = body_of(read(make_source([row])))
    assert body["messages"] == [SYSTEM, ASKED, CALLED, RESULT, ANSWERED]
    assert body["tools"] == [TOOL]


def test_words_beside_a_call_stay_with_it(make_source: MakeSource, read: Read) -> None:
    content = [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "t1", "name": "gauge", "input": {"kiln": 2}},
    ]
    asked = {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "1200"}]},
            {"type": "text", "text": "How hot?"},
        ],
    }
    body = body_of(
        read(make_source([{"messages": [ASKED, {"role": "assistant", "content": content}, asked, MORE[1]]}]))
    )
    assert body["messages"] == [ASKED, {**CALLED, "content": "Let me look."}, RESULT, *MORE]


def test_an_image_in_bytes_becomes_an_address_of_data(make_source: MakeSource, read: Read) -> None:
    part = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    asked = {"role": "user", "content": [part, {"type": "text", "text": "Is the kiln hot?"}]}
    [said, _] = body_of(read(make_source([{"messages": [asked, ANSWERED]}])))["messages"]
    assert said["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "text", "text": "Is the kiln hot?"},
    ]


def test_a_part_that_nothing_reads_stays_for_the_checks(make_source: MakeSource, read: Read) -> None:
    part = {"fileData": {"mimeType": "image/png", "fileUri": "gs://kilns/1.png"}}
    row = {
        "contents": [
            {"role": "user", "parts": [part, {"text": "Hot?"}]},
            {"role": "model", "parts": [{"text": "Yes."}]},
        ]
    }
    assert body_of(read(make_source([row])))["messages"][0]["content"][0] == part


def test_items_of_the_responses_api_become_calls_and_results(make_source: MakeSource, read: Read) -> None:
    asked = [
        ASKED,
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "t1", "name": "gauge", "arguments": '{"kiln": 2}'},
        {"type": "function_call_output", "call_id": "t1", "output": "1200"},
    ]
    row = {"instructions": "Be brief.", "input": asked, "output": [{"type": "message", **ANSWERED}]}
    assert body_of(read(make_source([row])))["messages"] == [SYSTEM, ASKED, CALLED, RESULT, ANSWERED]


def test_a_logged_call_of_gemini_is_read(make_source: MakeSource, read: Read) -> None:
    row = {
        "request": {"contents": [{"role": "user", "parts": [{"text": "Is the kiln hot?"}]}]},
        "response": {
            "candidates": [{"content": {"role": "model", "parts": [{"text": "Since noon."}]}, "finishReason": "STOP"}]
        },
    }
    assert body_of(read(make_source([row]))) == {"messages": [ASKED, ANSWERED]}


def test_bare_calls_are_the_answer_to_a_question_beside_tools(make_source: MakeSource, read: Read) -> None:
    tools = [{"name": "gauge", "description": "d", "parameters": {"kiln": {"type": "int"}}}]
    row = {
        "query": "Is the kiln hot?",
        "answers": json.dumps([{"name": "gauge", "arguments": {"kiln": 2}}]),
        "tools": json.dumps(tools),
    }
    body = body_of(read(make_source([row])))
    assert body["messages"][1]["tool_calls"][0]["function"] == CALLED["tool_calls"][0]["function"]
    assert body["tools"] == [TOOL]


def test_the_texts_of_a_column_of_another_name_are_not_taken_for_turns(make_source: MakeSource, choose: Choose) -> None:
    rows = [{"messages": [ASKED, ANSWERED], "turns": ["Is the kiln hot?", "How hot?"]}]
    assert choose(make_source(rows)).title == "conversations in messages"


def test_what_messages_hold_beside_their_texts_is_named(make_source: MakeSource, read: Read) -> None:
    thread = [
        {"role": "prompter", "text": "Hot?", "id": "m1", "lang": None},
        {"role": "assistant", "text": "Yes.", "score": 3},
    ]
    [example] = read(make_source([{"thread": thread}]))
    assert example.other_keys == ("thread.id", "thread.score")


@pytest.mark.parametrize("key", ["train", "loss"])
def test_answers_that_are_not_to_be_learned_have_the_weight_0(make_source: MakeSource, read: Read, key: str) -> None:
    said = [
        {"from": "human", "value": "Is the kiln hot?", key: False},
        {"from": "gpt", "value": "Since noon.", key: False},
        {"from": "human", "value": "How hot?"},
        {"from": "gpt", "value": "1,200 degrees.", key: True},
    ]
    unlearned = {**ANSWERED, "weight": 0}
    [example] = read(make_source([{"conversations": said}]))
    assert example.other_keys == ()
    assert example.body == {"messages": [ASKED, unlearned, *MORE]}
    [example] = read(make_source([{"messages": [ASKED, {**ANSWERED, key: False}, *MORE]}]))
    assert example.body == {"messages": [ASKED, unlearned, *MORE]}


def test_call_that_is_not_trained_has_weight_0(make_source: MakeSource, read: Read) -> None:
    call = {"from": "function_call", "value": '{"name": "gauge", "arguments": {"kiln": 2}}', "train": False}
    result = {"from": "observation", "value": "1200", "train": False}
    said = [{"from": "human", "value": "Is the kiln hot?"}, call, result, {"from": "gpt", "value": "Since noon."}]
    _, called, answered, _ = body_of(read(make_source([{"conversations": said}])))["messages"]
    assert called["weight"] == 0
    assert "weight" not in answered


def test_an_unknown_role_stays(make_source: MakeSource, read: Read) -> None:
    odd = {"role": "narrator", "content": "It was noon."}
    assert body_of(read(make_source([{"messages": [odd, ASKED, ANSWERED]}])))["messages"][0] == odd


def test_a_conversation_in_a_column_of_earlier_turns_is_not_the_example(make_source: MakeSource, read: Read) -> None:
    earlier = [{"role": "USER", "message": "Is the kiln hot?"}, {"role": "CHATBOT", "message": "Since noon."}]
    row = {"preamble": "Be brief.", "chat_history": earlier, "message": "How hot?", "response": "1,200 degrees."}
    body = body_of(read(make_source([row]), user_column="message", assistant_column="response"))
    assert body["messages"] == [SYSTEM, ASKED, ANSWERED, *MORE]


def test_messages_without_an_answer_are_items_for_a_grader_under_any_name(make_source: MakeSource, read: Read) -> None:
    row = {"prompt": [ASKED], "reward_model": {"ground_truth": "noon"}}
    body = body_of(read(make_source([row]), method="reinforcement"))
    assert body == {"messages": [ASKED], "reward_model": {"ground_truth": "noon"}}


def test_calls_as_chat_templates_take_them_get_ids_and_arguments_as_text(make_source: MakeSource, read: Read) -> None:
    def call(kiln: int) -> dict[str, Any]:
        return {"type": "function", "function": {"name": f"gauge_{kiln}", "arguments": {"kiln": kiln}}}

    results = [{"role": "tool", "name": f"gauge_{kiln}", "content": f"{kiln}00"} for kiln in (2, 1)]
    calling = {"role": "assistant", "content": "", "tool_calls": [call(1), call(2)]}
    _, called, *answered, _ = body_of(read(make_source([{"messages": [ASKED, calling, *results, ANSWERED]}])))[
        "messages"
    ]
    assert [each["function"]["arguments"] for each in called["tool_calls"]] == ['{"kiln": 1}', '{"kiln": 2}']
    assert [each["id"] for each in called["tool_calls"]] == ["call_1", "call_2"]
    assert [(each["tool_call_id"], each["content"]) for each in answered] == [("call_2", "200"), ("call_1", "100")]


def test_calls_among_the_words_as_hermes_writes_them_are_calls(make_source: MakeSource, read: Read) -> None:
    calling = 'Let me look. <tool_call>\n{"name": "gauge", "arguments": {"kiln": 2}}\n</tool_call>'
    said = [
        {"from": "human", "value": "Is the kiln hot?"},
        {"from": "gpt", "value": calling},
        {"from": "tool", "value": "<tool_response>\n1200\n</tool_response>"},
        {"from": "gpt", "value": "Since noon."},
    ]
    called = {**CALLED, "content": "Let me look.", "tool_calls": [{**CALLED["tool_calls"][0], "id": "call_1"}]}
    expected = [ASKED, called, {**RESULT, "tool_call_id": "call_1"}, ANSWERED]
    assert body_of(read(make_source([{"conversations": said}])))["messages"] == expected


@pytest.mark.parametrize("text", ["<tool_call>nothing</tool_call>", "<tool_call>{", "a <tool_call> is a tag"])
def test_other_tags_stay_in_the_words(make_source: MakeSource, read: Read, text: str) -> None:
    said = [{"from": "human", "value": "Is the kiln hot?"}, {"from": "gpt", "value": text}]
    assert body_of(read(make_source([{"conversations": said}])))["messages"][1] == {
        "role": "assistant",
        "content": text,
    }


def test_a_system_prompt_beside_the_messages_in_a_cell_comes_first(make_source: MakeSource, read: Read) -> None:
    row = {"data": {"messages": [ASKED, ANSWERED], "system_prompt": "Be brief."}, "date": "2026"}
    assert body_of(read(make_source([row]))) == {"messages": [SYSTEM, ASKED, ANSWERED]}


@pytest.mark.parametrize("names", [("chosen_response", "rejected_response"), ("response_j", "response_k")])
def test_other_names_of_preferences_are_known(make_source: MakeSource, read: Read, names: tuple[str, str]) -> None:
    body = body_of(read(make_source([{"question": "Is the kiln hot?", names[0]: "Since noon.", names[1]: "No."}])))
    assert (body["input"]["messages"], body["preferred_output"]) == ([ASKED], [ANSWERED])
