"""`input` of a response: a text, or items that make a conversation."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from retune.server.api.request_bodies import shown
from retune.server.errors import ApiError, missing_parameter
from retune.server.generation.sampling import unsupported
from retune.training_lines.keys import JsonMapping, JsonObject

_MAX_ITEMS: Final = 2048
_ROLES: Final = ("user", "assistant", "system", "developer")
_TEXT_OF_PART: Final = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_OTHER_PARTS: Final = ("input_image", "input_file", "input_audio")

Message = JsonObject


def conversation_of(given: object, instructions: str | None) -> list[Message]:
    """The messages that an `input` stands for, as a model takes them, after the instructions.

    Raises:
        ApiError: 400: it is not an input, or holds what no model here can read; 404: it refers to a stored item.
    """
    messages: list[Message] = [] if instructions is None else [{"role": "developer", "content": instructions}]
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    if given is None:
        raise missing_parameter("input")
    if not isinstance(given, list) or not 0 < len(given) <= _MAX_ITEMS:
        text = f"Invalid value for 'input': expected a string or a list of 1 to {_MAX_ITEMS} items."
        raise ApiError(400, text, param="input", code="invalid_value")
    for index, item in enumerate(given):
        _add_item(messages, item, f"input[{index}]")
    _refuse_open_calls(messages)
    return messages


def _add_item(messages: list[Message], item: Any, where: str) -> None:
    if not isinstance(item, dict):
        text = f"Invalid type for '{where}': expected an object, but got {shown(item)} instead."
        raise ApiError(400, text, param=where, code="invalid_type")
    kind = item.get("type", "message")
    if kind == "message":
        messages.append(_message(item, where))
    elif kind == "function_call":
        _add_call(messages, item, where)
    elif kind == "function_call_output":
        call_id = _text(item, "call_id", where)
        messages.append(
            {"role": "tool", "tool_call_id": call_id, "content": _content(item.get("output"), f"{where}.output")}
        )
    elif kind == "item_reference":
        text = (
            f"Item with id {shown(item.get('id'))} not found. Items are not persisted when `store` is set to false, as "
            "this server always does. Send the item itself: clients do with `store` set to false."
        )
        raise ApiError(404, text, param="input")
    else:
        raise unsupported(f"{where}.type", f"Items of the type {shown(kind)} are")


def _message(item: JsonMapping, where: str) -> Message:
    role = item.get("role")
    if role not in _ROLES:
        text = f"Invalid value: {shown(role)}. Supported values are: {', '.join(map(repr, _ROLES))}."
        raise ApiError(400, text, param=f"{where}.role", code="invalid_value")
    return {"role": role, "content": _content(item.get("content"), f"{where}.content")}


def _content(content: object, where: str) -> str | list[dict[str, str]]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or len(content) > _MAX_ITEMS:
        text = f"Invalid type for '{where}': expected a string or a list of at most {_MAX_ITEMS} parts of text."
        raise ApiError(400, text, param=where, code="invalid_type")
    return [{"type": "text", "text": _part(part, f"{where}[{index}]")} for index, part in enumerate(content)]


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(kind, str) and kind in _OTHER_PARTS:
        raise unsupported(f"{where}.type", f"Content of the type '{kind}' is")
    text = part.get(_TEXT_OF_PART[kind]) if isinstance(kind, str) and kind in _TEXT_OF_PART else None
    if not isinstance(text, str):
        expected = "an object of the type 'input_text' or 'output_text' with a text"
        raise ApiError(400, f"Invalid value for '{where}': expected {expected}.", param=where, code="invalid_value")
    return text


def _add_call(messages: list[Message], item: Mapping[str, object], where: str) -> None:
    function = {"name": _text(item, "name", where), "arguments": _text(item, "arguments", where)}
    call = {"id": _text(item, "call_id", where), "type": "function", "function": function}
    # Calls that were made at once are items one after the other here, and one message there.
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _text(item: Mapping[str, object], name: str, where: str) -> str:
    value = item.get(name)
    if value is None:
        raise missing_parameter(f"{where}.{name}")
    if not isinstance(value, str):
        text = f"Invalid type for '{where}.{name}': expected a string, but got {shown(value)} instead."
        raise ApiError(400, text, param=f"{where}.{name}", code="invalid_type")
    return value


def _refuse_open_calls(messages: Sequence[Message]) -> None:
    """Refuse calls without output and outputs without call, in the service's words."""
    waiting: dict[str, None] = {}
    for message in messages:
        waiting |= dict.fromkeys(call["id"] for call in message.get("tool_calls", ()))
        if message["role"] != "tool":
            continue
        call_id = message["tool_call_id"]
        if call_id not in waiting:
            text = f"No tool call found for function call output with call_id {call_id}."
            raise ApiError(400, text, param="input")
        del waiting[call_id]
    if waiting:
        raise ApiError(400, f"No tool output found for function call {next(iter(waiting))}.", param="input")
