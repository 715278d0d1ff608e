"""Messages as logs of calls keep them: OpenAI's of both APIs, Anthropic's, LangChain's; made into the API's own."""

import json
from collections.abc import Mapping
from typing import Any

from retune.data.checks.messages import MESSAGE_KEYS, ROLES
from retune.data.shapes.settings import as_tools
from retune.data.shapes.sharegpt import from_sharegpt, is_sharegpt_message

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
_TEXT_PARTS = ("text", "input_text", "output_text")
_TOOLS = ("tools", "functions", "parallel_tool_calls")


def log_message(value: Any) -> Message | None:
    """A message as the API takes it, without the keys that only logs have; None where it isn't a message."""
    if not isinstance(value, dict):
        return None
    if is_sharegpt_message(value):
        said: Message = from_sharegpt([value])[0]
        return said
    if value.get("role") in ROLES:
        return _cleaned({**value, "content": _content(value.get("content"))})
    return _langchain_message(value)


def log_messages(value: Any) -> list[Message] | None:
    """All messages of a list, or of a list in a list; None where the list is empty or holds anything else."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if not isinstance(value, list) or not value:
        return None
    messages = [message for item in value if (message := log_message(item)) is not None]
    return messages if len(messages) == len(value) else None


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
        elif item.get("type") != "reasoning":
            return None
    message = {"role": "assistant", **({"content": "".join(texts)} if texts else {}), "tool_calls": calls or None}
    return _cleaned(message) if texts or calls else None


def log_settings(request: Mapping[str, Any]) -> dict[str, Any]:
    """The tools of a request, as the API takes them beside messages."""
    settings = {key: request[key] for key in _TOOLS if request.get(key) not in (None, [])}
    if isinstance(tools := settings.get("tools"), list):
        settings["tools"] = as_tools([_as_function(tool) for tool in tools])
    return settings


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


def _as_function(tool: Any) -> Any:
    if not isinstance(tool, dict) or "function" in tool or "name" not in tool:
        return tool
    described = {key: value for key, value in tool.items() if key not in ("type", "input_schema")}
    if "input_schema" in tool:
        described["parameters"] = tool["input_schema"]
    return {"type": "function", "function": described}
