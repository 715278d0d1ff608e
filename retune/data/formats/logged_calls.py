"""What logs and traces keep of calls to a model: messages of OpenAI's APIs, Anthropic's and LangChain's."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from retune.data.formats.cells import structure_in
from retune.data.formats.content_blocks import api_tools, blocks_text
from retune.data.formats.foreign_messages import api_messages, is_foreign_message
from retune.data.formats.log_notes import is_built_in_item
from retune.training_lines.keys import MESSAGE_KEYS, ROLES, JsonMapping, JsonObject

Message = JsonObject

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


def log_message(value: object) -> Message | None:
    """A message as the API takes it, without the keys that only logs have; None where it isn't a message."""
    if not isinstance(value, dict):
        return None
    if is_foreign_message(value):
        read = api_messages([value])
        return _cleaned(read[0]) if len(read) == 1 and read[0].get("role") in ROLES else None
    if value.get("role") in ROLES:
        return _cleaned({**value, "content": _content(value.get("content"))})
    return _langchain_message(value)


def log_messages(value: object) -> list[Message] | None:
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


def response_items(items: object) -> Message | None:
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


def log_settings(request: JsonMapping) -> JsonObject:
    """The tools of a request, as the API takes them beside messages."""
    settings = {key: request[key] for key in _TOOLS if request.get(key) not in (None, [])}
    tools = settings.get("tools", settings.pop("toolConfig", None))
    return settings if tools is None else {**settings, "tools": api_tools(tools)}


def _is_thought(item: object) -> bool:
    return isinstance(item, dict) and item.get("type") == _THOUGHT


def _cleaned(message: JsonMapping) -> Message:
    return {key: message[key] for key in MESSAGE_KEYS if message.get(key) not in (None, [])}


def _content(content: object) -> object:
    """Text parts put together; anything else as it is."""
    if not isinstance(content, list) or not content:
        return content
    parts = [part for part in content if isinstance(part, dict) and part.get("type") in _TEXT_PARTS]
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    return "".join(texts) if len(texts) == len(content) else content


def _langchain_message(value: JsonMapping) -> Message | None:
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


def _langchain_call(call: object) -> object:
    if not isinstance(call, dict) or "function" in call or "args" not in call:
        return call
    called = {"name": call.get("name"), "arguments": json.dumps(call["args"], ensure_ascii=False, default=str)}
    return {"id": call.get("id"), "type": "function", "function": called}


_MOST_WRAPPERS = 6
_REQUEST_WRAPPERS = ("body", "request", "request_body", "input", "inputs", "json", "kwargs")
_ANSWER_WRAPPERS = ("body", "response", "response_body", "output", "outputs", "result", "message", "content")
_ANSWER_LISTS = ("choices", "generations", "candidates", "messages", "output")
_INSTRUCTIONS = ("system", "instructions", "systemInstruction", "system_instruction", "preamble")
_OF_CHOICES = {"index", "finish_reason", "finishReason", "generation_info"}
# Of chains that take one text and give one.
_ASKED = ("question", "query", "prompt", "input", "text", "user_input", "instruction")
_ANSWERED = ("answer", "response", "output", "text", "completion", "result", "content", "generated_text")


class Request(NamedTuple):
    """What a model was asked.

    Attributes:
        messages: The conversation.
        settings: Tools and the like.
        unread: The key of a system prompt that can't be read; empty where there is none.
    """

    messages: list[Message]
    settings: JsonObject
    unread: str = ""


def read_request(value: object, depth: int = _MOST_WRAPPERS) -> Request | None:
    """The conversation of a logged request; None where the cell holds none.

    Requests to chat completions, to the Responses API and to Anthropic's; lists of messages, LangChain's too; and
    objects of one text, such as {"question": "…"}.
    """
    found = structure_in(value)
    if isinstance(found, list):
        messages = log_messages(found)
        return None if messages is None else Request(messages, {})
    if not isinstance(found, dict) or depth == 0:
        return None
    given = found.get("messages", found.get("input", found.get("contents")))
    messages = log_messages(given)
    if messages is None and (asked := _asked_in_text(found)) is not None:
        messages = [{"role": "user", "content": asked}]
    if messages is not None:
        return _with_instructions(found, messages)
    if (message := log_message(found)) is not None:
        return Request([message], {})
    for key in _REQUEST_WRAPPERS:
        if (request := read_request(found.get(key), depth - 1)) is not None:
            return request
    text = _only_text(found, _ASKED)
    return None if text is None else Request([{"role": "user", "content": text}], {})


def _asked_in_text(found: JsonMapping) -> str | None:
    """The text of a request to the Responses API, or to the old completions, which name the model beside it."""
    texts = [found.get("input")] if "instructions" in found else []
    if "model" in found:
        prompt = found.get("prompt")
        texts += [found.get("input"), prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt]
    return next((text for text in texts if isinstance(text, str)), None)


def _with_instructions(found: JsonMapping, messages: list[Message]) -> Request:
    """The messages after the system prompt beside them: a text, blocks of text, or messages."""
    settings = log_settings(found)
    key = next((key for key in _INSTRUCTIONS if found.get(key)), None)
    if key is None:
        return Request(messages, settings)
    said = found[key]
    are_texts = isinstance(said, list) and all(isinstance(each, str) for each in said)
    text = "\n".join(said) if are_texts else blocks_text(said)
    before = [{"role": "system", "content": text}] if text else log_messages(said)
    return Request([*(before or []), *messages], settings, "" if before else key)


def read_answer(value: object, depth: int = _MOST_WRAPPERS) -> list[Message] | None:
    """What a model answered, as logged; None where the cell holds no answer.

    Responses of chat completions, of the Responses API and Anthropic's; messages, LangChain's too; and objects of one
    text, such as {"answer": "…"}.
    """
    found = structure_in(value) if depth else None
    if isinstance(found, list):
        return _read_answers(found, depth)
    return _read_response(found, depth) if isinstance(found, dict) else None


def _read_response(found: JsonMapping, depth: int) -> list[Message] | None:
    inside = [found[key] for key in _ANSWER_LISTS if isinstance(found.get(key), list)]
    if (message := log_message(found)) is not None:
        return [message] if message["role"] == "assistant" else None
    inside += [found[key] for key in _ANSWER_WRAPPERS if structure_in(found.get(key)) is not None]
    for wrapped in inside:
        if (answer := read_answer(wrapped, depth - 1)) is not None:
            return answer
    # Without a role it is the assistant's, if it calls tools as only an assistant does.
    called = log_message({"role": "assistant", **found}) if "tool_calls" in found else None
    text = _only_text(found, _ANSWERED)
    spoken = None if text is None else {"role": "assistant", "content": text}
    return [message] if (message := called or spoken) else None


def is_one_text(value: object) -> bool:
    """Whether a cell is an object of one text under a usual name; beside plain questions it may be meant as JSON."""
    found = structure_in(value)
    return isinstance(found, dict) and _only_text(found, _ANSWERED) is not None


def _read_answers(found: list[object], depth: int) -> list[Message] | None:
    first = found[0] if found else None
    is_choice = isinstance(first, dict) and not _OF_CHOICES.isdisjoint(first)
    if isinstance(first, list) or is_choice or (isinstance(first, dict) and isinstance(first.get("message"), dict)):
        # Of several choices the first is what a caller took.
        return read_answer(first, depth - 1)
    if (message := response_items(found) or called(found)) is not None:
        return [message]
    messages = log_messages(found)
    return messages if messages is not None and messages[-1]["role"] == "assistant" else None


def _only_text(found: JsonMapping, names: tuple[str, ...]) -> str | None:
    """The text of an object with one text under a usual name, and at most what a choice has beside it."""
    texts = [found[name] for name in names if isinstance(found.get(name), str)]
    beside = found.keys() - {*names, "index", "finish_reason", "logprobs", "generation_info", "type"}
    return texts[0] if len(texts) == 1 and not beside else None
