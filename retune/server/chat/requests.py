"""The body of POST /v1/chat/completions: what is offered, what is ignored, and what is refused."""

from typing import Annotated, Any, Literal

from pydantic import FailFast, Field

from retune.server.api.request_fields import FEW_FIELDS, Metadata, at_most
from retune.server.chat.messages import ChatMessage
from retune.server.chat.response_format import ResponseFormat
from retune.server.chat.sampling import SamplingRequest, refuse_fields, unsupported
from retune.server.errors import ApiError

_MAX_MESSAGES = 2048
_MAX_TOOLS = 128
# Fields that change nothing about the answer.
_IGNORED = {"prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier"}
# Fields of the API that this server does not offer, with the values that ask for nothing.
_NOT_OFFERED: dict[str, tuple[Any, ...]] = {
    "audio": (None,),
    "modalities": (None, ["text"]),
    "moderation": (None,),
    "parallel_tool_calls": (None, True, False),
    "web_search_options": (None,),
}

_Tools = Annotated[list[dict[str, Any]] | None, FailFast(), at_most(_MAX_TOOLS, "items")]


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
    tools: _Tools = None
    tool_choice: Any = None
    functions: _Tools = None
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
        refuse_fields(self.model_extra or {}, not_offered=_NOT_OFFERED, ignored=_IGNORED)
        self.refuse_sampling_that_is_not_offered()
        if self.reasoning_effort not in (None, "none"):
            raise unsupported("reasoning_effort", "'reasoning_effort' is")
        if self.verbosity not in (None, "medium"):
            raise unsupported("verbosity", "'verbosity' is")
        self._refuse_tools()
        if self.store:
            hint = " It keeps no answers that could be asked for later: leave 'store' out."
            raise unsupported("store", "'store' is", hint)
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            text = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
            raise ApiError(400, text, param="max_tokens")
        if self.top_logprobs is not None and not self.logprobs:
            text = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
            raise ApiError(400, text, param="top_logprobs")

    def _refuse_tools(self) -> None:
        for tools, choice in (("tools", "tool_choice"), ("functions", "function_call")):
            wanted = getattr(self, choice)
            if wanted not in (None, "none", "auto"):
                raise unsupported(choice, f"'{choice}' is")
            # Tools that the model is told not to call are tools that it need not know.
            if getattr(self, tools) and wanted != "none":
                raise unsupported(tools, f"'{tools}' is")

    @property
    def token_limit(self) -> int | None:
        """The most tokens of an answer; None for the model's own limit."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def conversation(self) -> list[dict[str, Any]]:
        """The messages, as a model takes them."""
        return [{"role": message.role, "content": message.content} for message in self.messages]
