import json
from typing import Any

import pytest
from rows_source import Choose, MakeSource, Read

from retune.data.example.example import Example
from retune.data.problems.problems import Finding

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is the shop open?"}]
ANSWERED = {"role": "assistant", "content": "Until six."}
CONVERSATION = [*ASKED, ANSWERED]
FUNCTION: dict[str, Any] = {"name": "hours", "description": "d", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
CALL = {"id": "c1", "type": "function", "function": {"name": "hours", "arguments": "{}"}}
REQUEST = {"model": "m", "messages": ASKED, "temperature": 0}
DUMPED: dict[str, Any] = {**ANSWERED, "refusal": None, "annotations": [], "tool_calls": None}
COMPLETION: dict[str, Any] = {
    "id": "x",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": DUMPED}],
    "usage": {"n": 1},
}
RESPONSE = {
    "object": "response",
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Until six."}]},
    ],
}
MESSAGES_API = {"role": "assistant", "type": "message", "content": [{"type": "text", "text": "Until six."}]}
SAID = [
    {"lc": 1, "type": "constructor", "id": ["langchain", "SystemMessage"], "kwargs": {"content": "Be brief."}},
    {"lc": 1, "type": "constructor", "id": ["langchain", "HumanMessage"], "kwargs": {"content": ASKED[1]["content"]}},
]
GENERATED = {"generations": [[{"text": "Until six.", "message": {"type": "ai", "data": {"content": "Until six."}}}]]}


def bodies(examples: list[Example]) -> list[dict[str, Any]]:
    assert [example.findings for example in examples] == [()] * len(examples)
    return [example.body for example in examples]


@pytest.mark.parametrize(
    "row",
    [
        {"input": REQUEST, "output": ANSWERED},
        {"input": ASKED, "output": DUMPED},
        {"input": json.dumps(ASKED), "output": json.dumps(ANSWERED)},
        {"input": str(ASKED), "output": str(DUMPED)},
        {"request": REQUEST, "response": COMPLETION},
        {"request": json.dumps({"body": REQUEST}), "response": json.dumps({"status_code": 200, "body": COMPLETION})},
        {"request_body": REQUEST, "response_body": COMPLETION, "cost": 3},
        {"custom_id": "1", "method": "POST", "url": "/v1", "body": REQUEST, "response": {"body": COMPLETION}},
        {"inputs": {"messages": [SAID]}, "outputs": GENERATED},
        {"inputs": {"messages": ASKED}, "outputs": {"messages": CONVERSATION}},
        {"prompt": json.dumps(ASKED), "completion": "Until six."},
        {"system": "Be brief.", "prompt": "Is the shop open?", "completion": DUMPED},
        {"messages": ASKED, "choices": COMPLETION["choices"]},
        {"messages": ASKED, "response": "Until six."},
        {"input": {"input": ASKED[1:], "instructions": "Be brief."}, "output": RESPONSE},
        {"input": {"input": "Is the shop open?", "instructions": "Be brief."}, "output": RESPONSE["output"]},
        {"input": {"system": "Be brief.", "messages": ASKED[1:]}, "output": MESSAGES_API},
        {"system": "Be brief.", "inputs": {"question": "Is the shop open?"}, "outputs": {"answer": "Until six."}},
        {"system": "Be brief.", "input": "Is the shop open?", "output": json.dumps(ANSWERED)},
    ],
)
def test_a_call_is_its_conversation(
    make_source: MakeSource,
    read: Read,
    choose: Choose,
    row: dict[str, Any],
) -> None:
    source = make_source([row, row])
    assert bodies(read(source)) == [{"messages": CONVERSATION}] * 2
    assert choose(source).title.startswith("logged calls, ")


@pytest.mark.parametrize(
    "tool",
    [
        TOOL,
        {"type": "function", **FUNCTION},
        {"name": "hours", "description": "d", "input_schema": FUNCTION["parameters"]},
    ],
)
def test_the_tools_of_the_request_come_with_it(make_source: MakeSource, read: Read, tool: dict[str, Any]) -> None:
    calling = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    row = {"request": {"messages": ASKED, "tools": [tool]}, "response": {"choices": [{"message": calling}]}}
    [body] = bodies(read(make_source([row])))
    assert body == {"messages": [*ASKED, {"role": "assistant", "tool_calls": [CALL]}], "tools": [TOOL]}


@pytest.mark.parametrize(
    "answer",
    [
        {"output": [{"type": "function_call", "call_id": "c1", "name": "hours", "arguments": "{}"}]},
        {"type": "ai", "content": "", "tool_calls": [{"id": "c1", "name": "hours", "args": {}}]},
    ],
)
def test_calls_of_tools_are_answers(make_source: MakeSource, read: Read, answer: dict[str, Any]) -> None:
    [body] = bodies(read(make_source([{"input": ASKED, "output": answer}])))
    assert body["messages"][-1] == {"role": "assistant", "tool_calls": [CALL]}


def test_named_columns_are_read_as_what_they_hold(make_source: MakeSource, read: Read) -> None:
    source = make_source([{"asked": REQUEST, "said": ANSWERED}])
    assert bodies(read(source, user_column="asked", assistant_column="said")) == [{"messages": CONVERSATION}]


def test_a_template_reads_the_json_itself(make_source: MakeSource, read: Read) -> None:
    source = make_source([{"input": ASKED, "output": ANSWERED}])
    [body] = bodies(read(source, user_template="{input}", assistant_template="{output.content}"))
    assert [message["content"] for message in body["messages"]] == [json.dumps(ASKED), "Until six."]


def test_an_answer_of_fields_to_a_plain_question_stays_json(
    make_source: MakeSource, read: Read, choose: Choose
) -> None:
    rows = [{"input": "Is the shop open?", "output": json.dumps({"answer": "yes"})}]
    shape = choose(make_source(rows))
    assert (shape.title, shape.remarks) == ("columns input → output (objects as JSON) (by their names)", ())
    assert bodies(read(make_source(rows)))[0]["messages"][-1]["content"] == '{"answer": "yes"}'


def test_a_request_with_fields_as_the_answer_keeps_both(make_source: MakeSource, read: Read, choose: Choose) -> None:
    rows = [{"input": REQUEST, "output": {"category": "hours"}}]
    [body] = bodies(read(make_source(rows)))
    assert body["messages"] == [*ASKED, {"role": "assistant", "content": '{"category": "hours"}'}]
    [remark] = choose(make_source(rows)).remarks
    assert remark.kind == "structured_cells"


def test_a_failed_call_is_named(make_source: MakeSource, read: Read) -> None:
    rows = [{"input": REQUEST, "output": COMPLETION}, {"input": REQUEST, "output": {"error": 429}}]
    _, failed = read(make_source(rows))
    message = 'column output: a call that failed, without an answer: {"error": 429}.'
    assert failed.findings == (Finding("failed_call", message),)


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 500, "body": {"error": {"message": "overloaded"}}},
        {"type": "error", "error": {"type": "overloaded_error"}},
        "RateLimitError: too many requests",
        "HTTP 503",
    ],
)
def test_whatever_a_failed_call_left_is_not_learned(
    make_source: MakeSource, read: Read, answer: dict[str, Any] | str
) -> None:
    _, failed = read(make_source([{"input": REQUEST, "output": COMPLETION}, {"input": REQUEST, "output": answer}]))
    assert [finding.kind for finding in failed.findings] == ["failed_call"]


def test_an_answer_about_errors_is_learned(make_source: MakeSource, read: Read) -> None:
    rows = [{"input": REQUEST, "output": COMPLETION}, {"input": REQUEST, "output": "Error handling is in part two."}]
    assert bodies(read(make_source(rows)))[1]["messages"][-1]["content"] == "Error handling is in part two."


@pytest.mark.parametrize(
    "said", [[{"role": "system", "content": "Be brief."}], [{"type": "text", "text": "Be brief."}], ["Be brief."]]
)
@pytest.mark.parametrize("key", ["system", "instructions"])
def test_a_system_prompt_may_be_a_list(make_source: MakeSource, read: Read, key: str, said: list[Any]) -> None:
    request = {"model": "m", key: said, "input": "Is the shop open?"}
    assert bodies(read(make_source([{"request": request, "response": RESPONSE}]))) == [{"messages": CONVERSATION}]


def test_a_system_prompt_that_is_something_else_is_named(make_source: MakeSource, read: Read) -> None:
    request = {"model": "m", "system": {"style": 3}, "messages": ASKED[1:]}
    [example] = read(make_source([{"request": request, "response": COMPLETION}]))
    [finding] = example.findings
    assert finding.kind == "cell_not_messages"
    assert "expected text, blocks of text or messages as system" in finding.message


@pytest.mark.parametrize("prompt", ["Is the shop open?", ["Is the shop open?"]])
def test_calls_of_the_old_completions(make_source: MakeSource, read: Read, prompt: list[str] | str) -> None:
    response = {"choices": [{"text": "Until six.", "index": 0, "logprobs": None, "finish_reason": "stop"}]}
    rows = [{"request": {"model": "m", "prompt": prompt, "max_tokens": 9}, "response": response}]
    assert bodies(read(make_source(rows))) == [{"messages": CONVERSATION[1:]}]


def test_items_of_the_providers_own_tools_are_left_out_and_counted(make_source: MakeSource, read: Read) -> None:
    search = {"type": "file_search_call", "id": "f", "results": []}
    asked = [ASKED[1], search, {"type": "mcp_list_tools", "tools": []}]
    rows = [{"request": {"model": "m", "input": asked}, "response": {"output": [search, *RESPONSE["output"], search]}}]
    [example] = read(make_source(rows))
    assert example.body == {"messages": CONVERSATION[1:]}
    left = "items of the provider's own tools left out"
    assert example.findings == (
        Finding("log_items_left_out", f"column request: {left}: file_search_call (1), mcp_list_tools (1)."),
        Finding("log_items_left_out", f"column response: {left}: file_search_call (2)."),
    )


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        ({"choices": [{**COMPLETION["choices"][0], "finish_reason": "length"}]}, ["answer_cut"]),
        ([*COMPLETION["choices"], {"index": 1, "message": DUMPED}], ["choices_left_out"]),
        ({"body": {**MESSAGES_API, "stop_reason": "max_tokens"}}, ["answer_cut"]),
        ({**RESPONSE, "incomplete_details": {"reason": "max_output_tokens"}}, ["answer_cut"]),
        ({"choices": [{**COMPLETION["choices"][0], "finish_reason": "stop"}]}, []),
    ],
)
def test_cut_answers_and_further_choices_are_counted(
    make_source: MakeSource,
    read: Read,
    answer: dict[str, Any] | list[dict[str, Any]],
    kinds: list[str],
) -> None:
    for cell in (answer, json.dumps(answer)):
        [example] = read(make_source([{"request": REQUEST, "response": cell}]))
        assert example.body["messages"] == CONVERSATION
        assert [finding.kind for finding in example.findings] == kinds


def test_answered_conversations_beside_a_response_are_conversations(make_source: MakeSource, choose: Choose) -> None:
    row = {"messages": CONVERSATION, "response": COMPLETION}
    assert choose(make_source([row])).title == "conversations in messages"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"custom_id": "1", "body": REQUEST}, "body holds requests, and no column their answers"),
        ({"custom_id": "1", "response": {"body": COMPLETION}}, "response holds answers, and no column what was asked"),
    ],
)
def test_half_of_a_batch_names_the_other_half(
    make_source: MakeSource, choose: Choose, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(Exception, match=message) as caught:
        choose(make_source([row]))
    assert "join both files by custom_id" in str(caught.value)
