"""Why a line can't be trained on, by the server's rules: a chat, or a prompt and its completion."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from reprlib import Repr
from typing import NamedTuple

from retune.training_lines.keys import (
    COMPLETION_KEYS,
    EXAMPLE_KEYS,
    FUNCTION_NAME,
    FUNCTION_NAME_RULE,
    INSTRUCTION_ROLES,
    MAY_BE_EMPTY,
    ROLES,
    SERVER_MESSAGE_KEYS,
    JsonMapping,
    holds_nothing,
    is_blank,
    without_empty_keys,
)

_SHOWN_CHARACTERS = 100
_SHOWN_KEYS = 5
_CALL_KEYS = ("tool_calls", "function_call")

# It never looks deeper than it shows: a value may be large, and nested to the limit.
_short = Repr()
_short.maxlevel, _short.maxstring = 2, _SHOWN_CHARACTERS


class LineProblem(NamedTuple):
    """One thing that is wrong with a line.

    Attributes:
        path: Where in the line: `messages[1].content`; empty for the line as a whole.
        expected: What should be there.
        found: What is.
    """

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}expected {self.expected}, found {self.found}"


def chat_problems(example: JsonMapping) -> Iterator[LineProblem]:
    """Everything that keeps a chat example from being trained on; nothing where it can be."""
    if "messages" not in example:
        yield LineProblem("", "the key 'messages'", _name_keys(example))
        return
    yield from _unknown_keys(example, EXAMPLE_KEYS, "")
    for key in ("tools", "functions"):
        if not isinstance(example.get(key), list | None) and not holds_nothing(example[key]):
            yield LineProblem(key, "a list", name_type(example[key]))
    messages = example["messages"]
    if not isinstance(messages, list) or not messages:
        yield LineProblem("messages", "a list of at least one message", name_type(messages))
        return
    for index, message in enumerate(messages):
        yield from _message_problems(message, f"messages[{index}]")
    if not any(isinstance(message, dict) and message.get("role") == "assistant" for message in messages):
        yield LineProblem("messages", "at least one message of the role assistant, to learn from", "none")


def completion_problems(example: JsonMapping) -> Iterator[LineProblem]:
    """Everything that keeps a prompt and its completion from being trained on; the prompt may be empty."""
    if missing := sorted(set(COMPLETION_KEYS) - example.keys()):
        yield LineProblem("", f"the key '{missing[0]}'", _name_keys(example))
        return
    yield from _unknown_keys(example, COMPLETION_KEYS, "")
    for key in COMPLETION_KEYS:
        if not isinstance(example[key], str):
            yield LineProblem(key, "text", name_type(example[key]))
    if example["completion"] == "":
        yield LineProblem("completion", "text", "an empty text")


def name_type(value: object) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    if isinstance(value, str | list | dict) and not value:
        return f"an empty {names[type(value)].split()[1]}"
    return names.get(type(value), "a number")


def _name_keys(value: JsonMapping) -> str:
    """The first keys of an object, in words."""
    return ", ".join(_shown(key) for key in islice(value, _SHOWN_KEYS)) or "an empty object"


def _shown(value: object) -> str:
    """A value as an error quotes it: of a long one, the beginning."""
    text = _short.repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _unknown_keys(value: JsonMapping, allowed: Sequence[str], where: str) -> Iterator[LineProblem]:
    unknown = [key for key in value if key not in allowed and not holds_nothing(value[key])]
    if unknown:
        names = ", ".join(_shown(key) for key in unknown[:_SHOWN_KEYS])
        more = f" and {len(unknown) - _SHOWN_KEYS} more" if len(unknown) > _SHOWN_KEYS else ""
        yield LineProblem(where, f"the keys {', '.join(allowed)}", f"the unknown key {names}{more}")


def _message_problems(message: object, where: str) -> Iterator[LineProblem]:
    if not isinstance(message, dict):
        yield LineProblem(where, "an object", name_type(message))
        return
    message = without_empty_keys(message)
    if message.get("role") not in ROLES:
        yield LineProblem(f"{where}.role", f"one of {', '.join(ROLES)}", _shown(message.get("role")))
        return
    yield from _unknown_keys(message, SERVER_MESSAGE_KEYS, where)
    yield from _call_problems(message, where)
    role, weight = message["role"], message.get("weight")
    if weight is not None and role != "assistant":
        yield LineProblem(f"{where}.weight", "it on assistant messages alone", f"{_shown(weight)} on {role}")
    elif weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        yield LineProblem(f"{where}.weight", "0 or 1", _shown(weight))
    yield from _content_problems(message, where)


def _call_problems(message: JsonMapping, where: str) -> Iterator[LineProblem]:
    role = message["role"]
    for key in _CALL_KEYS:
        if key in message and role != "assistant":
            yield LineProblem(f"{where}.{key}", "it on assistant messages alone", f"it on {role}")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        yield LineProblem(f"{where}.tool_call_id", "text", name_type(message.get("tool_call_id")))
    calls = message.get("tool_calls", [])
    if not isinstance(calls, list):
        yield LineProblem(f"{where}.tool_calls", "a list", name_type(calls))
        return
    for index, call in enumerate(calls):
        path = f"{where}.tool_calls[{index}]"
        if not isinstance(call, dict) or call.get("type") != "function":
            yield LineProblem(path, 'an object of the type "function"', _shown(call))
        else:
            yield from _function_problems(call.get("function"), f"{path}.function")
    if "function_call" in message:
        yield from _function_problems(message["function_call"], f"{where}.function_call")


def _function_problems(function: object, where: str) -> Iterator[LineProblem]:
    if not isinstance(function, dict):
        yield LineProblem(where, "a function with 'name' and 'arguments'", name_type(function))
        return
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not FUNCTION_NAME.fullmatch(name):
        yield LineProblem(f"{where}.name", FUNCTION_NAME_RULE, _shown(name))
    if not isinstance(arguments, str):
        yield LineProblem(f"{where}.arguments", "a string of JSON", name_type(arguments))
        return
    try:
        json.loads(arguments)
    except (ValueError, RecursionError) as error:
        yield LineProblem(f"{where}.arguments", f"a string of JSON ({error})", _shown(arguments))


def _content_problems(message: JsonMapping, where: str) -> Iterator[LineProblem]:
    content, role = message.get("content"), message["role"]
    calls = any(key in message for key in _CALL_KEYS)
    may_be_empty = calls or role in MAY_BE_EMPTY or role in INSTRUCTION_ROLES
    if content is None:
        if role == "tool" or not may_be_empty:
            yield LineProblem(f"{where}.content", "text", "null")
    elif isinstance(content, list):
        wrong = [index for index, part in enumerate(content) if not _is_text_part(part)]
        for index in wrong:
            part = content[index]
            kind = part.get("type", name_type(part)) if isinstance(part, dict) else name_type(part)
            yield LineProblem(f"{where}.content[{index}]", 'a part of the type "text", with its text', _shown(kind))
        if not wrong and not may_be_empty and is_blank(content):
            yield LineProblem(f"{where}.content", "text", "none in its parts")
    elif not isinstance(content, str):
        yield LineProblem(f"{where}.content", "text", name_type(content))
    elif not may_be_empty and is_blank(content):
        yield LineProblem(f"{where}.content", "text", _shown(content))


def _is_text_part(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
