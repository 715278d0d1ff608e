"""What is wrong with an example: a chat, `{"messages": […]}`, or a prompt and its completion."""

from collections.abc import Mapping, Sequence
from itertools import islice
from reprlib import Repr
from typing import Any

_ROLES = ("system", "developer", "user", "assistant")
_MESSAGE_KEYS = {"role", "content", "name", "weight"}
_EXAMPLE_KEYS = {"messages", "parallel_tool_calls"}
_COMPLETION_KEYS = ("prompt", "completion")
_SHOWN_CHARACTERS = 100
_TOOL_KEYS = ("tools", "functions", "tool_calls", "function_call", "tool_call_id")

# It never looks deeper than it shows: a value may be large, and nested to the limit.
_short = Repr()
_short.maxlevel, _short.maxstring = 2, _SHOWN_CHARACTERS


def problem_of_chat_example(example: Mapping[str, Any]) -> str | None:
    """Why a chat example can't be learned; None where it can."""
    if "messages" not in example:
        return f"expected the key 'messages', found {_name_keys(example)}"
    if tools := _tool_key(example):
        return f"'{tools}' can't be learned: this server trains on text alone"
    if unknown := sorted(example.keys() - _EXAMPLE_KEYS - set(_TOOL_KEYS)):
        return f"unknown key {_shown(unknown[0])} beside 'messages'"
    messages = example["messages"]
    if not isinstance(messages, list) or not messages:
        return f"'messages' must be a list of at least one message, found {name_type(messages)}"
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
    role = message.get("role")
    if tools := _tool_key(message) or (role if role in ("tool", "function") else None):  # a role may be unhashable
        return f"'{tools}' can't be learned: this server trains on text alone"
    if role not in _ROLES:
        return f"'role' must be one of {', '.join(_ROLES)}, found {_shown(role)}"
    if unknown := sorted(message.keys() - _MESSAGE_KEYS - set(_TOOL_KEYS)):
        return f"unknown key {_shown(unknown[0])}"
    if "weight" in message and (role != "assistant" or message["weight"] not in (0, 1)):
        return f"'weight' must be 0 or 1, on an assistant message; found {_shown(message['weight'])} on {role}"
    return _problem_of_content(message.get("content"))


def _problem_of_content(content: Any) -> str | None:
    if isinstance(content, str):
        return None if content.strip() else "'content' is empty"
    if not isinstance(content, list):
        return f"'content' must be text, found {name_type(content)}"
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(part.get("text"), str):
            return f"'content' may have parts of the type 'text' alone, found {_shown(kind or name_type(part))}"
    return None if any(part["text"].strip() for part in content) else "'content' is empty"


def _tool_key(value: Mapping[str, Any]) -> str | None:
    return next((key for key in _TOOL_KEYS if value.get(key)), None)
