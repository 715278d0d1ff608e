"""What is wrong with an example: a chat, `{"messages": […]}`, or a prompt and its completion."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from reprlib import Repr
from typing import Any

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_MESSAGE_KEYS = {"role", "content", "name", "weight", "tool_calls", "function_call", "tool_call_id"}
_EXAMPLE_KEYS = {"messages", "parallel_tool_calls", "tools", "functions"}
_COMPLETION_KEYS = ("prompt", "completion")
_SHOWN_CHARACTERS = 100
_FUNCTION_NAME = re.compile("[a-zA-Z0-9_-]{1,64}")

# It never looks deeper than it shows: a value may be large, and nested to the limit.
_short = Repr()
_short.maxlevel, _short.maxstring = 2, _SHOWN_CHARACTERS


def problem_of_chat_example(example: Mapping[str, Any]) -> str | None:
    """Why a chat example can't be learned; None where it can."""
    if "messages" not in example:
        return f"expected the key 'messages', found {_name_keys(example)}"
    if unknown := sorted(example.keys() - _EXAMPLE_KEYS):
        return f"unknown key {_shown(unknown[0])} beside 'messages'"
    messages = example["messages"]
    if not isinstance(messages, list) or not messages:
        return f"'messages' must be a list of at least one message, found {name_type(messages)}"
    for key in ("tools", "functions"):
        if not isinstance(example.get(key), list | None):
            return f"'{key}' must be a list, found {name_type(example[key])}"
    return _problem_of_messages(messages)


def problem_of_completion_example(example: Mapping[str, Any]) -> str | None:
    """Why a prompt and its completion can't be learned; None where they can."""
    if missing := sorted(set(_COMPLETION_KEYS) - example.keys()):
        return f"expected the key '{missing[0]}', found {_name_keys(example)}"
    if unknown := sorted(example.keys() - set(_COMPLETION_KEYS)):
        return f"unknown key {_shown(unknown[0])} beside 'prompt' and 'completion'"
    for key in _COMPLETION_KEYS:
        if not isinstance(example[key], str):
            return f"'{key}' must be text, found {name_type(example[key])}"
    return None if example["completion"] else "'completion' is empty"


def name_type(value: Any) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _name_keys(value: Mapping[str, Any]) -> str:
    """The first keys of an object, in words."""
    return ", ".join(_shown(key) for key in islice(value, 5)) or "an empty object"


def _shown(value: Any) -> str:
    """A value as an error quotes it: of a long one, the beginning."""
    text = _short.repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _problem_of_messages(messages: Sequence[Any]) -> str | None:
    for index, message in enumerate(messages):
        problem = _problem_of_message(message)
        if problem:
            return f"messages[{index}]: {problem}"
    if not any(message["role"] == "assistant" for message in messages):
        return "there is no message from the assistant to learn"
    return None


def _problem_of_message(message: Any) -> str | None:
    if not isinstance(message, dict):
        return f"expected an object, found {name_type(message)}"
    if message.get("role") not in _ROLES:
        return f"'role' must be one of {', '.join(_ROLES)}, found {_shown(message.get('role'))}"
    if unknown := sorted(message.keys() - _MESSAGE_KEYS):
        return f"unknown key {_shown(unknown[0])}"
    return _problem_of_calls(message) or _problem_of_what_is_said(message)


def _problem_of_what_is_said(message: Mapping[str, Any]) -> str | None:
    role = message["role"]
    if "weight" in message and (role != "assistant" or message["weight"] not in (0, 1)):
        return f"'weight' must be 0 or 1, on an assistant message; found {_shown(message['weight'])} on {role}"
    may_be_empty = role in ("tool", "function") or bool(message.get("tool_calls") or message.get("function_call"))
    content = message.get("content")
    if content is None and may_be_empty and role != "tool":
        return None
    return _problem_of_content(content, may_be_empty=may_be_empty)


def _problem_of_calls(message: Mapping[str, Any]) -> str | None:
    calls, legacy_call, role = message.get("tool_calls"), message.get("function_call"), message["role"]
    for key in ("tool_calls", "function_call"):
        if message.get(key) and role != "assistant":
            return f"'{key}' belongs to assistant messages, found on {role}"
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        return f"'tool_call_id' must be text, found {name_type(message.get('tool_call_id'))}"
    if not isinstance(calls, list | None):
        return f"'tool_calls' must be a list, found {name_type(calls)}"
    for index, call in enumerate(calls or ()):
        function = call.get("function") if isinstance(call, dict) and call.get("type") == "function" else None
        if problem := _problem_of_function(function):
            return f"tool_calls[{index}]: {problem}"
    problem = _problem_of_function(legacy_call) if legacy_call is not None else None
    return f"function_call: {problem}" if problem else None


def _problem_of_function(function: Any) -> str | None:
    if not isinstance(function, dict):
        return "expected a function with 'name' and 'arguments'"
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not _FUNCTION_NAME.fullmatch(name):
        return f"'name' must be 1 to 64 of the characters a-z, A-Z, 0-9, _ and -, found {_shown(name)}"
    if not isinstance(arguments, str):
        return f"'arguments' must be a string of JSON, found {name_type(arguments)}"
    try:
        json.loads(arguments)
    except (ValueError, RecursionError) as error:
        return f"'arguments' must be a string of JSON ({error}), found {_shown(arguments)}"
    return None


def _problem_of_content(content: Any, *, may_be_empty: bool) -> str | None:
    if isinstance(content, str):
        return None if content.strip() or may_be_empty else "'content' is empty"
    if not isinstance(content, list):
        return f"'content' must be text, found {name_type(content)}"
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(part.get("text"), str):
            return f"'content' may have parts of the type 'text' alone, found {_shown(kind or name_type(part))}"
    return None if may_be_empty or any(part["text"].strip() for part in content) else "'content' is empty"
