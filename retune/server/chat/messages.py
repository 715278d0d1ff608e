"""The messages of a conversation: text alone, from those who may speak in it."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from retune.server.chat.sampling import unsupported
from retune.server.errors import ApiError, invalid
from retune.server.validation_messages import type_name, unsupported_choice

_OTHER_PARTS = ("image_url", "input_audio", "file")
_MAX_PARTS = 2048
_ROLES = ("developer", "system", "user", "assistant")


class ChatMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    role: str
    content: Any = None
    name: str | None = None

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
        if self.role in {"tool", "function"}:
            raise unsupported(f"{where}.role", f"Messages with the role '{self.role}' are")
        if self.role not in _ROLES:
            raise invalid(unsupported_choice(f"{where}.role", self.role, _ROLES))
        for key in ("tool_calls", "function_call", "audio"):
            if (self.model_extra or {}).get(key):
                raise unsupported(f"{where}.{key}", f"Messages with '{key}' are")
        self._refuse_content(f"{where}.content")

    def _refuse_content(self, where: str) -> None:
        if isinstance(self.content, str):
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
