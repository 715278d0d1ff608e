"""The messages of a conversation: text, and calls of functions, from those who may speak in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from retune.server.chat.sampling import unsupported
from retune.server.errors import ApiError, invalid, missing_parameter
from retune.server.validation_messages import type_name, unsupported_choice

_OTHER_PARTS = ("image_url", "input_audio", "file")
_MAX_PARTS = 2048
_MAX_CALLS = 128
_ROLES = ("developer", "system", "user", "assistant", "tool", "function")


class ChatMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    role: str
    content: Any = None
    name: str | None = None
    tool_calls: Any = None
    tool_call_id: str | None = None
    function_call: Any = None

    def refuse_what_is_not_offered(self, index: int) -> None:
        """Refuse a message that this server's models can't read.

        Args:
            index: Its place in the conversation.

        Raises:
            ApiError: 400.
        """
        where = f"messages[{index}]"
        if self.role == "function" and self.name is None:
            # As recorded of the service, which had another way to write places then.
            message = "Missing parameter 'name': messages with role 'function' must have a 'name'."
            raise ApiError(400, message, param=f"messages.[{index}].name")
        if self.role not in _ROLES:
            raise invalid(unsupported_choice(f"{where}.role", self.role, _ROLES))
        if self.role == "tool" and self.tool_call_id is None:
            raise missing_parameter(f"{where}.tool_call_id")
        if (self.model_extra or {}).get("audio"):
            raise unsupported(f"{where}.audio", "Messages with 'audio' are")
        self._refuse_calls(where)
        self._refuse_content(f"{where}.content")

    def as_prompt(self) -> dict[str, Any]:
        """The message as a model takes it."""
        message: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.content is None and isinstance(refusal := (self.model_extra or {}).get("refusal"), str):
            message["content"] = refusal
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        if self.function_call:
            message["function_call"] = self.function_call
        return message

    def call_ids(self) -> list[str]:
        """Ids of the calls in it."""
        return [call["id"] for call in self.tool_calls or ()]

    def _refuse_calls(self, where: str) -> None:
        for name, wanted in (("tool_calls", self.tool_calls), ("function_call", self.function_call)):
            if wanted and self.role != "assistant":
                message = f"Invalid value for '{where}.{name}': messages with role '{self.role}' make no calls."
                raise ApiError(400, message, param=f"{where}.{name}", code="invalid_value")
        if self.function_call:
            _refuse_function(self.function_call, f"{where}.function_call")
        if not self.tool_calls:
            return
        if not isinstance(self.tool_calls, list) or len(self.tool_calls) > _MAX_CALLS:
            message = f"Invalid value for '{where}.tool_calls': expected a list of at most {_MAX_CALLS} calls."
            raise ApiError(400, message, param=f"{where}.tool_calls", code="invalid_value")
        for index, call in enumerate(self.tool_calls):
            place = f"{where}.tool_calls[{index}]"
            if not isinstance(call, dict) or call.get("type") != "function" or not isinstance(call.get("id"), str):
                message = f"Invalid value for '{place}': expected an object with an 'id' and the type 'function'."
                raise ApiError(400, message, param=place, code="invalid_value")
            _refuse_function(call.get("function"), f"{place}.function")

    def _refuse_content(self, where: str) -> None:
        if isinstance(self.content, str) or (self.content is None and self._may_be_empty()):
            return
        parts: list[Any] = self.content if isinstance(self.content, list) else [self.content]
        if len(parts) > _MAX_PARTS:
            message = (
                f"Invalid '{where}': array too long. Expected an array with maximum length {_MAX_PARTS}, "
                f"but got an array with length {len(parts)} instead."
            )
            raise ApiError(400, message, param=where, code="array_above_max_length")
        for part in parts:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in _OTHER_PARTS:
                raise unsupported(where, f"Content of the type '{kind}' is")
            if kind != "text" or not isinstance(part.get("text"), str):
                message = (
                    f"Invalid type for '{where}': expected one of a string or array of text parts, "
                    f"but got {type_name(part)} instead."
                )
                raise ApiError(400, message, param=where, code="invalid_type")

    def _may_be_empty(self) -> bool:
        if self.role == "assistant":
            return bool(self.tool_calls or self.function_call or (self.model_extra or {}).get("refusal"))
        return self.role == "function"


def refuse_unanswered_calls(messages: Sequence[ChatMessage]) -> None:
    """Refuse tool messages that answer no call, and calls that none answers, as the service does.

    Raises:
        ApiError: 400.
    """
    waiting: dict[str, None] = {}
    calling = 0
    for index, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                text = (
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'."
                )
                raise ApiError(400, text, param=f"messages[{index}].role")
            del waiting[str(message.tool_call_id)]
            continue
        _refuse_waiting(waiting, calling)
        calling, waiting = index, dict.fromkeys(message.call_ids())
    _refuse_waiting(waiting, calling)


def _refuse_waiting(waiting: Mapping[str, None], calling: int) -> None:
    if waiting:
        text = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(waiting)}"
        )
        raise ApiError(400, text, param=f"messages[{calling}].role")


def _refuse_function(function: Any, where: str) -> None:
    if not isinstance(function, dict) or not all(isinstance(function.get(key), str) for key in ("name", "arguments")):
        message = f"Invalid value for '{where}': expected an object with the strings 'name' and 'arguments'."
        raise ApiError(400, message, param=where, code="invalid_type")
