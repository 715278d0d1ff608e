"""Messages as other programs write them, read as the API's.

ShareGPT has `{"from": "human", "value": "…"}`, Open Assistant `{"role": "prompter", "text": "…"}`. Calls of functions
are messages of their own there: `function_call`, whose value is JSON (`{"name": "find", "arguments": {"id": 7}}`), and
`observation` with what came of it. They become `tool_calls` and messages of the role `tool`. What doesn't fit stays as
it is, and the checks name it.
"""

import json
from collections.abc import Iterator
from typing import Any

from retune.data.jsonl import parse_json
from retune.data.shapes.role_names import role_of

_CALLS = {"functioncall", "toolcall"}
_RESULTS = {"observation", "functionresponse", "toolresponse", "toolresult"}


def is_sharegpt_message(message: Any) -> bool:
    """Whether a message is written as ShareGPT does."""
    return isinstance(message, dict) and "from" in message and "value" in message and "role" not in message


def is_text_message(message: Any) -> bool:
    """Whether a message has its content under `text`, as Open Assistant's threads do."""
    return (
        isinstance(message, dict)
        and "role" in message
        and isinstance(message.get("text"), str)
        and ("content" not in message)
    )


def is_foreign_message(message: Any) -> bool:
    """Whether a message is written in one of the ways that are read here."""
    return is_sharegpt_message(message) or is_text_message(message)


def from_sharegpt(messages: list[Any]) -> list[Any]:
    """The messages as the API takes them; an unknown name stays as the role, and anything else as it is."""
    read: list[Any] = []
    waiting: list[str] = []
    n_calls = 0
    for message in messages:
        if not is_foreign_message(message):
            read.append(message)
            continue
        said, content = _parts(message)
        name = _normal(said)
        calls = _calls_in(content, n_calls) if name in _CALLS else []
        if calls:
            n_calls += len(calls)
            waiting = [call["id"] for call in calls]
            read.append({"role": "assistant", "tool_calls": calls})
        elif waiting and (name in _RESULTS or name == "tool"):
            read += _results(content, waiting)
            waiting = []
        else:
            role = "tool" if name in _RESULTS else (role_of(said) or said)
            read.append({"role": role, "content": content} | {k: message[k] for k in ("weight",) if k in message})
    return read


def api_tools(tools: Any) -> Any:
    """Declared functions as the API takes them: `{"name": …}` alone gets the `{"type": "function"}` around it."""
    if not isinstance(tools, list):
        return tools
    return [
        {"type": "function", "function": tool}
        if isinstance(tool, dict) and isinstance(tool.get("name"), str) and "type" not in tool
        else tool
        for tool in tools
    ]


def _parts(message: dict[str, Any]) -> tuple[Any, Any]:
    if is_sharegpt_message(message):
        return message["from"], message["value"]
    return message["role"], message["text"]


def _normal(said: Any) -> str:
    return said.lower().replace("_", "").replace("-", "").strip() if isinstance(said, str) else ""


def _calls_in(content: Any, n_before: int) -> list[dict[str, Any]]:
    """The calls that the JSON says; none where it doesn't fit."""
    found = list(_functions_in(content))
    return (
        [
            {"id": f"call_{number}", "type": "function", "function": function}
            for number, function in enumerate(found, start=n_before + 1)
            if function is not None
        ]
        if None not in found
        else []
    )


def _functions_in(content: Any) -> Iterator[dict[str, str] | None]:
    value = _json_in(content)
    for item in value if isinstance(value, list) else [value]:
        call = item.get("function", item) if isinstance(item, dict) else None
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            yield None
            continue
        arguments = call.get("arguments", call.get("parameters", {}))
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        yield {"name": call["name"], "arguments": text}


def _results(content: Any, calls: list[str]) -> list[dict[str, Any]]:
    """An answer to every call: of several calls, the JSON list has one for each."""
    values = _json_in(content) if len(calls) > 1 else None
    if not isinstance(values, list) or len(values) != len(calls):
        return [{"role": "tool", "tool_call_id": calls[0], "content": _text(content)}]
    return [
        {"role": "tool", "tool_call_id": call, "content": _text(value)}
        for call, value in zip(calls, values, strict=True)
    ]


def _text(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool | int | float) else value


def _json_in(content: Any) -> Any:
    if not isinstance(content, str):
        return content
    try:
        return parse_json(content)
    except ValueError:
        return None
