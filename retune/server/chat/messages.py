"""The messages of a conversation: text alone, from those who may speak in it."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from retune.server.chat.sampling import unsupported
from retune.server.errors import ApiError

_OTHER_PARTS = ("image_url", "input_audio", "file")
_MAX_PARTS = 2048
_ROLES = ("developer", "system", "user", "assistant")


class ChatMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    role: str
    content: Any = None
    name: str | None = None

    def refuse_what_is_not_offered(self, where: str) -> None:
        """Refuse a message that this server's models can't read.

        Raises:
            ApiError: 400, naming the field as `where` and its name.
        """
        if self.role == "function" and self.name is None:
            # As recorded of the service.
            message = "Missing parameter 'name': messages with role 'function' must have a 'name'."
            raise ApiError(400, message, param=f"{where}.name")
        if self.role in {"tool", "function"}:
            raise unsupported(f"{where}.role", f"Messages with the role '{self.role}' are")
        if self.role not in _ROLES:
            message = f"Invalid value for '{where}.role': expected one of {', '.join(_ROLES)}, but got '{self.role}'."
            raise ApiError(400, message, param=f"{where}.role", code="invalid_value")
        for key in ("tool_calls", "function_call", "audio"):
            if (self.model_extra or {}).get(key):
                raise unsupported(f"{where}.{key}", f"Messages with '{key}' are")
        self._refuse_content(f"{where}.content")

    def _refuse_content(self, where: str) -> None:
        if isinstance(self.content, str):
            return
        parts: list[Any] = self.content if isinstance(self.content, list) else [self.content]
        if len(parts) > _MAX_PARTS:
            message = f"Invalid value for '{where}': expected at most {_MAX_PARTS} parts, but got {len(parts)}."
            raise ApiError(400, message, param=where, code="invalid_value")
        for part in parts:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in _OTHER_PARTS:
                raise unsupported(where, f"Content of the type '{kind}' is")
            if kind != "text" or not isinstance(part.get("text"), str):
                message = f"Invalid value for '{where}': expected a string or a list of text parts."
                raise ApiError(400, message, param=where, code="invalid_type")
