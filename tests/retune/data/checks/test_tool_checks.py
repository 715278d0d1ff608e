from typing import Any

import pytest

from retune.data.checks.structure import check_structure
from retune.data.problems.rules import RULES

USER = {"role": "user", "content": "What is the weather in San Francisco?"}
ASSISTANT = {"role": "assistant", "content": "Sunny."}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}


def call(id_: str = "1", name: str = "get_weather", arguments: object = '{"city": "San Francisco"}') -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(calls)}


def answer(id_: str = "1", content: object = "21 degrees") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


def found(*messages: dict[str, Any], tools: tuple[Any, ...] = (TOOL,), **beside: Any) -> list[tuple[str, str]]:
    body = {"messages": list(messages), "tools": list(tools), **beside}
    return [(finding.kind, finding.message) for finding in check_structure(body, "supervised", "openai")]


@pytest.mark.parametrize(
    "messages",
    [
        (USER, calling(call())),
        (USER, calling(call()), answer(), ASSISTANT),
        (USER, calling(call("1"), call("2")), answer("2"), answer("1", ""), ASSISTANT, USER, calling(call("1"))),
        (USER, calling(call(arguments="{}")), answer(content=[{"type": "text", "text": ""}]), ASSISTANT),
    ],
)
def test_valid_tool_calls_have_no_problem(messages: tuple[Any, ...]) -> None:
    assert found(*messages, parallel_tool_calls=False) == []


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"id": "1"}, 'expected {"id": …, "type": "function", "function": …}, found {"id": "1"}.'),
        ({**call(), "id": ""}, 'expected an id as text, found "".'),
        ({**call(), "function": "f"}, 'expected {"name": …, "arguments": …}, found "f".'),
        (
            call(name="get weather"),
            'expected a name of 1 to 64 of the characters a-z, A-Z, 0-9, _ and -; found "get weather".',
        ),
        (call(arguments={"city": "x"}), 'expected arguments as a string of JSON, found {"city": "x"}.'),
        (
            call(arguments="{'city': 'x'}"),
            (
                "the arguments are not JSON (Expecting property name enclosed in double quotes: line 1 column 2 "
                "(char 1)): \"{'city': 'x'}\"."
            ),
        ),
    ],
)
def test_malformed_tool_calls_are_named(broken: dict[str, Any], message: str) -> None:
    assert ("bad_tool_call", f"message 2 (assistant), call 1: {message}") in found(USER, calling(broken))


def test_calls_that_are_no_list_or_share_an_id() -> None:
    message = "message 2 (assistant): expected tool_calls as a list of calls, found 7."
    assert found(USER, {**ASSISTANT, "tool_calls": 7}) == [("bad_tool_call", message)]
    assert found(USER, calling()) == [("missing_content", "message 2 (assistant): no content; expected text.")]
    assert found(USER, calling(call(), call())) == [
        ("bad_tool_call", 'message 2 (assistant): two calls have the id "1".')
    ]


def test_the_deprecated_function_call_is_checked_too() -> None:
    broken = {"role": "assistant", "function_call": {"name": "f", "arguments": 1}}
    assert found(USER, broken, functions=[{"name": "f"}]) == [
        (
            "bad_tool_call",
            "message 2 (assistant), function_call: expected arguments as a string of JSON, found 1.",
        )
    ]
    function = {"role": "function", "content": None}
    assert found(USER, function, ASSISTANT) == [
        ("bad_name", "message 2 (function): no name; expected that of the function which answers.")
    ]


def test_every_call_needs_its_answer_before_the_conversation_goes_on() -> None:
    unanswered = ("unanswered_tool_call", 'message 2 (assistant): no tool message answers the call "2".')
    assert found(USER, calling(call("1"), call("2")), answer("1"), ASSISTANT) == [unanswered]
    assert unanswered in found(USER, calling(call("1"), call("2")), answer("1"))


def test_every_answer_needs_its_call() -> None:
    waiting = "calls that wait for an answer"
    assert found(USER, answer("9"), ASSISTANT) == [
        ("unknown_tool_call_id", f'message 2 (tool): the tool_call_id "9"; {waiting}: none.')
    ]
    assert found(USER, calling(call()), answer(), answer(), ASSISTANT)[0][0] == "unknown_tool_call_id"
    nobody = {"role": "tool", "content": "x"}
    assert found(USER, calling(call()), nobody, ASSISTANT)[0] == (
        "unknown_tool_call_id",
        f'message 3 (tool): no tool_call_id; {waiting}: "1".',
    )


def test_tools_that_were_not_declared_are_noticed_once() -> None:
    messages = USER, calling(call("1", "f"), call("2", "f")), answer("1"), answer("2"), ASSISTANT
    assert found(*messages) == [("unknown_tool", '"f" is called, but not declared; declared: get_weather.')]
    assert found(*messages, tools=()) == [("unknown_tool", '"f" is called, but not declared; declared: none.')]
    assert RULES["unknown_tool"].level == "warning"


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"tools": {"f": 1}}, 'expected tools as a list, found {"f": 1}.'),
        (
            {"tools": [{"name": "f"}]},
            'tool 1: expected {"type": "function", "function": …}, found {"name": "f"}.',
        ),
        ({"tools": [{"type": "function"}]}, "tool 1: expected a function as an object, found null."),
        (
            {"tools": [TOOL, {"type": "function", "function": {"name": "a" * 65}}]},
            f'tool 2: expected a name of 1 to 64 of the characters a-z, A-Z, 0-9, _ and -; found "{"a" * 58}….',
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": "{}"}}]},
            'tool 1: expected parameters as a JSON Schema object, found "{}".',
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "description": 1}}]},
            "tool 1: expected a description as text, found 1.",
        ),
        ({"tools": [TOOL] * 129}, "129 tools; at most 128 are taken."),
        ({"functions": 1}, "expected functions as a list, found 1."),
        ({"parallel_tool_calls": "true"}, 'expected parallel_tool_calls as true or false, found "true".'),
    ],
)
def test_declarations_of_tools(beside: dict[str, Any], message: str) -> None:
    body = {"messages": [USER, ASSISTANT], **beside}
    assert list(check_structure(body, "supervised", "openai")) == [("bad_tools", message)]
