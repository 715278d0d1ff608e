"""The body of POST /v1/chat/completions: what is offered, what is ignored, and what is refused."""

from typing import Annotated, Any, Literal

from pydantic import FailFast, Field

from retune.server.api.request_fields import FEW_FIELDS, Metadata, at_most
from retune.server.chat.drawing import Question
from retune.server.chat.messages import ChatMessage, refuse_unanswered_calls
from retune.server.chat.response_format import AnswerFormat, ResponseFormat
from retune.server.chat.sampling import SamplingRequest, refuse_fields, unsupported
from retune.server.chat.tools import Calling, Functions, Tools, call_format, read_choice
from retune.server.errors import ApiError

_MAX_MESSAGES = 2048
# Fields that change nothing about the answer.
_IGNORED = {"prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier"}
# Fields of the API that this server does not offer, with the values that ask for nothing.
_NOT_OFFERED: dict[str, tuple[Any, ...]] = {
    "audio": (None,),
    "modalities": (None, ["text"]),
    "moderation": (None,),
    "web_search_options": (None,),
}


class ChatRequest(SamplingRequest):
    """A chat completion as a client asks for it."""

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
        """The most tokens of an answer; None for the model's own limit."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def calling(self) -> Calling | None:
        """What is wanted of the request's functions; None where none may be called.

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
        """What answers in text are validated against; None where any text will do.

        Raises:
            ApiError: 400: the schema can't be used.
        """
        return self.response_format.answer_format() if self.response_format else None

    def question(self, calling: Calling | None) -> Question:
        """The conversation, and what is wanted of its answers; raises as of `answer_format`."""
        return Question(
            self,
            [message.as_prompt() for message in self.messages],
            calling.format if calling else self.answer_format(),
            self.token_limit,
            (self.top_logprobs or 0) if self.logprobs else None,
        )
