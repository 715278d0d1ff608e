"""Messages as logs of calls keep them: OpenAI's of both APIs, Anthropic's, LangChain's; made into the API's own."""

import json
from collections.abc import Mapping
from typing import Any

from retune.data.checks.messages import MESSAGE_KEYS, ROLES
from retune.data.formats.content_blocks import api_tools
from retune.data.formats.foreign_messages import api_messages, is_foreign_message
from retune.data.formats.log_notes import is_built_in_item

Message = dict[str, Any]

_LANGCHAIN = {
    "human": "user",
    "ai": "assistant",
    "system": "system",
    "tool": "tool",
    "developer": "developer",
    "HumanMessage": "user",
    "AIMessage": "assistant",
    "AIMessageChunk": "assistant",
    "SystemMessage": "system",
    "ToolMessage": "tool",
}
_THOUGHT = "reasoning"
_CALL = {"name", "arguments"}
_TEXT_PARTS = ("text", "input_text", "output_text")
_TOOLS = ("tools", "functions", "parallel_tool_calls", "toolConfig")


def log_message(value: Any) -> Message | None:
    """A message as the API takes it, without the keys that only logs have; None where it isn't a message."""
    if not isinstance(value, dict):
        return None
    if is_foreign_message(value):
        read = api_messages([value])
        return _cleaned(read[0]) if len(read) == 1 and read[0].get("role") in ROLES else None
    if value.get("role") in ROLES:
        return _cleaned({**value, "content": _content(value.get("content"))})
    return _langchain_message(value)


def log_messages(value: Any) -> list[Message] | None:
    """All messages of a list, or of a list in a list; None where the list is empty or holds anything else."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if not isinstance(value, list) or not value:
        return None
    # What a model thought of stands between its items, and is not a message.
    items = [item for item in value if not (_is_thought(item) or is_built_in_item(item))]
    read = api_messages([item if is_foreign_message(item) else log_message(item) for item in items])
    are_messages = all(isinstance(message, dict) and message.get("role") in ROLES for message in read)
    return [_cleaned(message) for message in read] if read and are_messages else None


def response_items(items: Any) -> Message | None:
    """The message of a list of output items, as the Responses API gives them; None where it isn't such a list."""
    if not isinstance(items, list):
        return None
    texts: list[str] = []
    calls: list[Message] = []
    for item in items:
        if not isinstance(item, dict):
            return None
        if item.get("type") == "function_call":
            called = {"name": item.get("name"), "arguments": item.get("arguments")}
            calls.append({"id": item.get("call_id"), "type": "function", "function": called})
        elif item.get("type") == "message" and isinstance(content := _content(item.get("content")), str):
            texts.append(content)
        elif item.get("type") in _TEXT_PARTS and isinstance(item.get("text"), str):
            texts.append(item["text"])
        elif not (_is_thought(item) or is_built_in_item(item)):
            return None
    message = {"role": "assistant", **({"content": "".join(texts)} if texts else {}), "tool_calls": calls or None}
    return _cleaned(message) if texts or calls else None


def called(items: list[Any]) -> Message | None:
    """The message of a list of bare calls, each with its name and arguments alone; None for any other list."""
    read = api_messages([{"from": "function_call", "value": items}])[0]
    return read if all(isinstance(item, dict) and item.keys() == _CALL for item in items) and items else None


def log_settings(request: Mapping[str, Any]) -> dict[str, Any]:
    """The tools of a request, as the API takes them beside messages."""
    settings = {key: request[key] for key in _TOOLS if request.get(key) not in (None, [])}
    tools = settings.get("tools", settings.pop("toolConfig", None))
    return settings if tools is None else {**settings, "tools": api_tools(tools)}


def _is_thought(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == _THOUGHT


def _cleaned(message: Mapping[str, Any]) -> Message:
    return {key: message[key] for key in MESSAGE_KEYS if message.get(key) not in (None, [])}


def _content(content: Any) -> Any:
    """Text parts put together; anything else as it is."""
    if not isinstance(content, list) or not content:
        return content
    parts = [part for part in content if isinstance(part, dict) and part.get("type") in _TEXT_PARTS]
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    return "".join(texts) if len(texts) == len(content) else content


def _langchain_message(value: Mapping[str, Any]) -> Message | None:
    kind = value.get("type")
    if kind == "constructor" and isinstance(value.get("id"), list) and value["id"]:
        kind, value = value["id"][-1], value.get("kwargs", {})
    elif isinstance(value.get("data"), dict):
        value = value["data"]
    role = _LANGCHAIN.get(kind) if isinstance(kind, str) else None
    if role is None or not isinstance(value, Mapping) or "content" not in value:
        return None
    calls = value.get("tool_calls")
    written = [_langchain_call(call) for call in calls] if isinstance(calls, list) else None
    content = _content(value["content"])
    # Beside calls it is empty, which the API refuses.
    return _cleaned(
        {**value, "role": role, "content": content or (None if written else content), "tool_calls": written}
    )


def _langchain_call(call: Any) -> Any:
    if not isinstance(call, dict) or "function" in call or "args" not in call:
        return call
    called = {"name": call.get("name"), "arguments": json.dumps(call["args"], ensure_ascii=False, default=str)}
    return {"id": call.get("id"), "type": "function", "function": called}
