"""The body of POST /v1/chat/completions: what is offered, what is ignored, and what is refused."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from retune.server.api.errors import ApiError, unrecognized_argument

_MAX_STOPS = 4
_OTHER_PARTS = ("image_url", "input_audio", "file")
_ROLES = ("developer", "system", "user", "assistant")

# Fields that change nothing about the answer.
_IGNORED = {"user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier"}
# Fields of the API that this server does not offer, with the values that ask for nothing.
_NOT_OFFERED: dict[str, tuple[Any, ...]] = {
    "audio": (None,),
    "frequency_penalty": (None, 0),
    "function_call": (None, "none"),
    "functions": (None,),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "modalities": (None, ["text"]),
    "moderation": (None,),
    "parallel_tool_calls": (None, True, False),
    "prediction": (None,),
    "presence_penalty": (None, 0),
    "prompt_cache_options": (None,),
    "reasoning_effort": (None,),
    "response_format": (None, {"type": "text"}),
    "store": (None, False),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
    "top_logprobs": (None, 0),
    "verbosity": (None, "medium"),
    "web_search_options": (None,),
}


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
            raise _unsupported(f"{where}.role", f"Messages with the role '{self.role}' are")
        if self.role not in _ROLES:
            message = f"Invalid value for '{where}.role': expected one of {', '.join(_ROLES)}, but got '{self.role}'."
            raise ApiError(400, message, param=f"{where}.role", code="invalid_value")
        for key in ("tool_calls", "function_call", "audio"):
            if (self.model_extra or {}).get(key):
                raise _unsupported(f"{where}.{key}", f"Messages with '{key}' are")
        self._refuse_content(f"{where}.content")

    def _refuse_content(self, where: str) -> None:
        if isinstance(self.content, str):
            return
        parts: list[Any] = self.content if isinstance(self.content, list) else [self.content]
        for part in parts:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in _OTHER_PARTS:
                raise _unsupported(where, f"Content of the type '{kind}' is")
            if kind != "text" or not isinstance(part.get("text"), str):
                message = f"Invalid value for '{where}': expected a string or a list of text parts."
                raise ApiError(400, message, param=where, code="invalid_type")


class StreamOptions(BaseModel):
    """What a stream holds besides the answer; nothing is ever obfuscated."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class ChatRequest(BaseModel):
    """A chat completion as a client asks for it."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1, le=128)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: Annotated[list[Annotated[str, Field(min_length=1)]] | None, BeforeValidator(_listed)] = Field(
        None, max_length=_MAX_STOPS
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    def refuse_what_is_not_offered(self) -> None:
        """Refuse fields that this server can't honour, rather than drop them silently.

        Raises:
            ApiError: 400.
        """
        for index, message in enumerate(self.messages):
            message.refuse_what_is_not_offered(f"messages.[{index}]")
        for name, value in (self.model_extra or {}).items():
            if name in _NOT_OFFERED and value not in _NOT_OFFERED[name]:
                raise _unsupported(name, f"'{name}' is")
            if name not in _NOT_OFFERED and name not in _IGNORED:
                raise unrecognized_argument(name)
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            text = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
            raise ApiError(400, text, param="max_tokens")
        if self.stream_options and not self.stream:
            text = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise ApiError(400, text, param="stream_options")

    def token_limit(self) -> int | None:
        """The most tokens of an answer; None for the model's own limit."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def conversation(self) -> list[dict[str, Any]]:
        """The messages, as a model takes them."""
        return [{"role": message.role, "content": message.content} for message in self.messages]


def _unsupported(param: str, what: str) -> ApiError:
    return ApiError(400, f"{what} not supported by this server's models.", param=param, code="unsupported_parameter")
