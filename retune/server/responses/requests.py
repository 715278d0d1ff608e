"""The body of POST /v1/responses: what is offered, what is ignored, and what is refused."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field

from retune.server.api.request_bodies import FEW_FIELDS, Metadata, RequestModel, at_most
from retune.server.errors import missing_parameter
from retune.server.generation.answer_formats import AnswerFormat, CallFormat, schema_format
from retune.server.generation.answers import AnswerRequest
from retune.server.generation.sampling import SamplingRequest, StreamOptions, refuse_fields, unsupported
from retune.server.generation.tools import FunctionDefinition, call_format, functions_alone, read_choice, schema_text
from retune.server.responses.input_items import conversation_of
from retune.training_lines.keys import JsonObject

_MAX_TOOLS = 128
# Fields that change nothing about the answer.
_IGNORED = {
    *("access_programs", "background_options", "image", "max_tool_calls", "prompt_cache_key", "prompt_cache_options"),
    *("prompt_cache_retention", "service_tier"),
}
# Fields of the API that this server does not offer, with the values that ask for nothing.
_NOT_OFFERED: dict[str, tuple[object, ...]] = {
    "background": (None, False),
    "context_management": (None, []),
    "conversation": (None,),
    "moderation": (None,),
    "previous_response_id": (None,),
    "prompt": (None,),
}
_LOGPROBS = "message.output_text.logprobs"
Includable = Literal[
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
]


class TextFormat(RequestModel):
    """What an answer in text must be; `strict` changes nothing: it is checked in any case."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = Field(None, pattern="^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    schema_: JsonObject | None = Field(None, alias="schema")
    strict: bool | None = None

    def answer_format(self) -> AnswerFormat | None:
        """The format that answers are validated against; None if any text is valid.

        Raises:
            ApiError: 400: there is no schema where there must be one, or it can't be used.
        """
        field, schema_field = "text.format", "text.format.schema"
        if self.type == "text":
            return None
        if self.type == "json_object":
            return AnswerFormat('{"type": "object"}', field, schema_field)
        if self.name is None or self.schema_ is None:
            raise missing_parameter(f"text.format.{'name' if self.name is None else 'schema'}")
        return schema_format(self.name, self.schema_, param=field, schema_param=schema_field)


class TextConfig(RequestModel):
    """The form of an answer in text."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


def _refuse_other_tools(value: Any) -> Any:
    kind = value.get("type") if isinstance(value, dict) else None
    return value if kind is None else {**value, "type": functions_alone(kind)}


class FunctionTool(FunctionDefinition):
    """A function that may be called; other kinds of tools are not supported."""

    type: Literal["function"]
    # Tools that are found or called by programs would have more to them.
    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    output_schema: JsonObject | None = None
    async_: bool | None = Field(None, alias="async")


# Before the fields: other tools have other ones.
_Tool = Annotated[FunctionTool, BeforeValidator(_refuse_other_tools)]


class ResponseRequest(BaseModel):
    """The body of POST /v1/responses. `user` and `safety_identifier` are accepted, and change nothing."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    model: str
    input: Any = None
    instructions: str | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    text: TextConfig | None = None
    tools: Annotated[list[_Tool] | None, FailFast(), at_most(_MAX_TOOLS, "items")] = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    include: Annotated[list[Includable] | None, FailFast(), at_most(32, "items")] = None
    reasoning: Annotated[JsonObject | None, FEW_FIELDS] = None
    metadata: Metadata | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: Annotated[StreamOptions | None, FEW_FIELDS] = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None
    safety_identifier: str | None = Field(None, max_length=128)

    def answer_request(self) -> AnswerRequest:
        """The conversation, and the format of its answer.

        Raises:
            ApiError: Something in it is not offered, or can't be used.
        """
        self._refuse_what_is_not_offered()
        text_format = self.text.format.answer_format() if self.text and self.text.format else None
        with_logprobs = _LOGPROBS in (self.include or ()) or bool(self.top_logprobs)
        return AnswerRequest(
            SamplingRequest(model=self.model, temperature=self.temperature, top_p=self.top_p),
            conversation_of(self.input, self.instructions),
            self._call_format(text_format) or text_format,
            self.max_output_tokens,
            (self.top_logprobs or 0) if with_logprobs else None,
        )

    def chosen_tools(self) -> str | JsonObject:
        """The `tool_choice` that a response repeats."""
        choice = self.tool_choice
        if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
            tools = [{"type": "function", "name": tool["name"]} for tool in choice["tools"][:_MAX_TOOLS]]
            return {"type": "allowed_tools", "mode": choice["mode"], "tools": tools}
        if isinstance(choice, Mapping):
            return {"type": "function", "name": choice["name"]}
        return choice or "auto"

    def _call_format(self, text_format: AnswerFormat | None) -> CallFormat | None:
        tools = self.tools or []
        choice = read_choice(_as_in_chat(self.tool_choice), [tool.name for tool in tools])
        if choice is None:
            # The response repeats them all the same.
            for index, tool in enumerate(tools):
                schema_text(tool, f"tools[{index}].parameters")
            return None
        return call_format(
            tools,
            choice,
            is_parallel=self.parallel_tool_calls is not False,
            text_format=text_format,
            param="tool_choice",
            place="tools[{}].parameters",
        )

    def _refuse_what_is_not_offered(self) -> None:
        for name in ("previous_response_id", "conversation"):
            if (self.model_extra or {}).get(name) is not None:
                raise unsupported(name, f"'{name}' is", " It stores nothing: send the whole conversation as 'input'.")
        refuse_fields(self.model_extra or {}, not_offered=_NOT_OFFERED, ignored=_IGNORED)
        if self.store:
            hint = " It keeps no responses that could be asked for later: leave 'store' out, or set it to false."
            raise unsupported("store", "'store' is", hint)
        if self.text and self.text.verbosity not in (None, "medium"):
            raise unsupported("text.verbosity", "'text.verbosity' is")
        for name, value in (self.reasoning or {}).items():
            if value is not None and (name, value) != ("effort", "none"):
                raise unsupported(f"reasoning.{name}", f"'reasoning.{name}' is", " They answer without reasoning.")


def _as_in_chat(choice: object) -> object:
    """A `tool_choice` in the shape that chat completions have for it."""
    if not isinstance(choice, Mapping):
        return choice
    if choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if choice.get("type") == "allowed_tools" and isinstance(choice.get("tools"), list):
        tools = [_as_in_chat(tool) for tool in choice["tools"][:_MAX_TOOLS]]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode"), "tools": tools}}
    return choice
