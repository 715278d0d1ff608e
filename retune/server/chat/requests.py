"""The body of POST /v1/chat/completions: what is offered, what is ignored, and what is refused."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

from retune.server.api.request_bodies import FEW_FIELDS, Metadata, at_most, refuse_many_fields
from retune.server.errors import ApiError, invalid, missing_parameter
from retune.server.generation.answer_formats import AnswerFormat, ResponseFormat
from retune.server.generation.answers import AnswerRequest
from retune.server.generation.sampling import SamplingRequest, refuse_fields, unsupported
from retune.server.generation.tools import Calling, Functions, Tools, call_format, read_choice
from retune.server.validation_messages import type_name, unsupported_choice
from retune.training_lines.keys import JsonObject

_OTHER_PARTS = ("image_url", "input_audio", "file")
_MAX_PARTS = 2048
_MAX_CALLS = 128
_ROLES = ("developer", "system", "user", "assistant", "tool", "function")
_MAX_MESSAGES = 2048
# Fields that change nothing about the answer.
_IGNORED = {"prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier"}
# Fields of the API that this server does not offer, with the values that ask for nothing.
_NOT_OFFERED: dict[str, tuple[object, ...]] = {
    "audio": (None,),
    "modalities": (None, ["text"]),
    "moderation": (None,),
    "web_search_options": (None,),
}


class ChatMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    role: str
    content: Any = None
    name: str | None = None
    tool_calls: Any = None
    tool_call_id: str | None = None
    function_call: Any = None

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, value: object) -> object:
        return refuse_many_fields(value)

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

    def as_prompt(self) -> JsonObject:
        """The message as a model takes it."""
        message: JsonObject = {"role": self.role, "content": self.content}
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
    """Refuse tool messages without a call, and calls without a tool message, as the service does.

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


def _refuse_function(function: object, where: str) -> None:
    if not isinstance(function, dict) or not all(isinstance(function.get(key), str) for key in ("name", "arguments")):
        message = f"Invalid value for '{where}': expected an object with the strings 'name' and 'arguments'."
        raise ApiError(400, message, param=where, code="invalid_type")


class ChatRequest(SamplingRequest):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], FailFast(), at_most(_MAX_MESSAGES, "messages")] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    response_format: Annotated[ResponseFormat | None, FEW_FIELDS] = None
    store: bool | None = None
    tools: Tools = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    functions: Functions = None
    function_call: Any = None
    metadata: Metadata | None = None
    safety_identifier: str | None = Field(None, max_length=64)

    def refuse_what_is_not_offered(self) -> None:
        """Refuse what this server can't honour, rather than drop it silently.

        Raises:
            ApiError: 400.
        """
        for index, message in enumerate(self.messages):
            message.refuse_what_is_not_offered(index)
        refuse_unanswered_calls(self.messages)
        refuse_fields(self.model_extra or {}, not_offered=_NOT_OFFERED, ignored=_IGNORED)
        self.refuse_sampling_that_is_not_offered()
        if self.reasoning_effort not in (None, "none"):
            raise unsupported("reasoning_effort", "'reasoning_effort' is")
        if self.verbosity not in (None, "medium"):
            raise unsupported("verbosity", "'verbosity' is")
        if self.store:
            hint = " It keeps no answers that could be asked for later: leave 'store' out."
            raise unsupported("store", "'store' is", hint)
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            text = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
            raise ApiError(400, text, param="max_tokens")
        if self.top_logprobs is not None and not self.logprobs:
            text = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
            raise ApiError(400, text, param="top_logprobs")

    @property
    def token_limit(self) -> int | None:
        """The maximum of tokens of an answer; None for the model's own limit."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def calling(self) -> Calling | None:
        """How the request's functions may be called; None if none may be called.

        Raises:
            ApiError: 400: a function can't be used, or the choice names one that is not there.
        """
        tools, functions = [tool.function for tool in self.tools or ()], self.functions or []
        choice = read_choice(self.tool_choice, [tool.name for tool in tools])
        legacy_choice = read_choice(self.function_call, [one.name for one in functions], param="function_call")
        if choice and legacy_choice:
            text = "'functions' can't be used together with 'tools': use 'tools' alone."
            raise ApiError(400, text, param="functions", code="invalid_value")
        if choice:
            format_ = call_format(
                tools,
                choice,
                is_parallel=self.parallel_tool_calls is not False,
                text_format=self.answer_format(),
                param="tool_choice",
                place="tools[{}].function.parameters",
            )
            return Calling(format_, choice.is_named)
        if legacy_choice:
            format_ = call_format(
                functions,
                legacy_choice,
                is_parallel=False,
                text_format=self.answer_format(),
                param="function_call",
                place="functions[{}].parameters",
            )
            return Calling(format_, legacy_choice.is_named, is_legacy=True)
        return None

    def answer_format(self) -> AnswerFormat | None:
        """The format that text answers are validated against; None if any text is valid.

        Raises:
            ApiError: 400: the schema can't be used.
        """
        return self.response_format.answer_format() if self.response_format else None

    def answer_request(self, calling: Calling | None) -> AnswerRequest:
        """The conversation, and the format of its answers; raises the errors of `answer_format`."""
        return AnswerRequest(
            self,
            [message.as_prompt() for message in self.messages],
            calling.format if calling else self.answer_format(),
            self.token_limit,
            (self.top_logprobs or 0) if self.logprobs else None,
        )
