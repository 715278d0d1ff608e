"""Tool calls as text: how trainers learn them, and how they are found in an answer again.

The form is that of the Hermes models: `<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>`, each on a line of
its own, after the message's text where it has one. Arguments stay as the client wrote them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from retune.training_lines.keys import JsonMapping

_OPENING, _CLOSING = "<tool_call>", "}</tool_call>"
_HEAD = re.compile(r'<tool_call>\{"name": "(?P<name>[a-zA-Z0-9_-]{1,64})", "arguments": ')


class WrittenCall(NamedTuple):
    """A call in a text.

    Attributes:
        name: The function's; None where the text is cut before it.
        start: Where its arguments begin.
        end: Where they end.
    """

    name: str | None
    start: int
    end: int


class WrittenCalls(NamedTuple):
    """The text before the calls of a message, and the calls in their order."""

    content: str
    calls: tuple[WrittenCall, ...]


def write_calls(message: Mapping[str, object]) -> str:
    """The calls of an assistant message as text, `tool_calls` or the legacy `function_call`; "" where it has none."""
    return "\n".join(_write(function) for function in _called(message))


def find_calls(text: str, *, is_cut: bool = False) -> WrittenCalls:
    """Find the calls that `write_calls` wrote.

    Args:
        text: The text of a whole message.
        is_cut: Whether a token limit ended it: its last call may then be incomplete.

    Returns:
        Its calls. Where it does not end with calls alone, all of it is content.
    """
    position = text.find(_OPENING)
    if position < 0:
        return WrittenCalls(text, ())
    content, calls = text[:position].removesuffix("\n"), []
    while position < len(text):
        head = _HEAD.match(text, position)
        end = text.find(_CLOSING, head.end()) if head else -1
        after = end + len(_CLOSING)
        if head and end >= 0 and text[after : after + 1] in {"", "\n"}:
            calls.append(WrittenCall(head["name"], head.end(), end))
            position = after + 1
        elif is_cut and end < 0:
            calls.append(_cut_call(text, head))
            break
        else:
            return WrittenCalls(text, ())
    return WrittenCalls(content, tuple(calls))


def is_beginning_of_call(text: str) -> bool:
    """Whether a text that is cut may be the beginning of a call's mark."""
    return _OPENING.startswith(text)


def _called(message: JsonMapping) -> Iterator[JsonMapping]:
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, Mapping) and isinstance(call.get("function"), Mapping):
            yield call["function"]
    if isinstance(message.get("function_call"), Mapping):
        yield message["function_call"]


def _write(function: Mapping[str, object]) -> str:
    name, arguments = json.dumps(str(function.get("name")), ensure_ascii=False), str(function.get("arguments")).strip()
    if not _is_json(arguments):
        # A conversation may hold what a model once got wrong.
        arguments = json.dumps(arguments, ensure_ascii=False)
    # JSON can hold this in its strings alone, and there `<` may be written as an escape.
    arguments = arguments.replace(_CLOSING, _CLOSING.replace("<", "\\u003c"))
    return f'{_OPENING}{{"name": {name}, "arguments": {arguments}{_CLOSING}'


def _cut_call(text: str, head: re.Match[str] | None) -> WrittenCall:
    if head is None:
        return WrittenCall(None, len(text), len(text))
    closing = (_CLOSING[:length] for length in range(len(_CLOSING) - 1, 1, -1))
    cut = next((part for part in closing if text.endswith(part, head.end())), "")
    if text.endswith("}") and _is_json(text[head.end() : -1]):
        cut = "}"
    return WrittenCall(head["name"], head.end(), len(text) - len(cut))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
