"""`response_format`: answers that must be JSON, or JSON of a given shape.

A model can't be made to write JSON token by token; what can be done honestly is to choose among the answers that it
knows, to check the one that comes out, and to refuse to pass it on if it does not match.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from retune.server.api.request_bodies import FEW_FIELDS
from retune.server.errors import ApiError, missing_parameter
from retune.server.generation.answer_schema import (
    STEPS_OF_A_REQUEST,
    InvalidSchemaError,
    StepBudget,
    TooManyStepsError,
    check_schema,
    problem_with,
)
from retune.trainers.tool_calls import WrittenCall, find_calls, is_beginning_of_call
from retune.training_lines.keys import JsonObject

_PARAM = "response_format.json_schema"
_SAID_CHARACTERS = 200


class JsonSchemaFormat(BaseModel):
    """A JSON Schema with a name; `strict` changes nothing: the answer is held to the schema in any case."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(pattern="^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    schema_: JsonObject | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """What the answer must be."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: Annotated[JsonSchemaFormat | None, FEW_FIELDS] = None

    def answer_format(self) -> "AnswerFormat | None":
        """The format that answers are validated against; None if any text is valid.

        Raises:
            ApiError: 400: there is no schema where there must be one, or it can't be used.
        """
        if self.type == "text":
            return None
        if self.type == "json_object":
            return AnswerFormat('{"type": "object"}')
        if self.json_schema is None:
            raise missing_parameter(_PARAM)
        wanted = self.json_schema
        where = {"param": "response_format", "schema_param": f"{_PARAM}.schema"}
        return schema_format(wanted.name, wanted.schema_ or {}, **where)


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """Checks whether a text is JSON that meets a schema; equal to another with the same schema.

    Attributes:
        schema_text: The JSON Schema, already checked.
        param: The request's field that asks for it.
        schema_param: Where in it the schema is.
        budget: What is left to its request.
    """

    schema_text: str
    param: str = field(default="response_format", compare=False)
    schema_param: str = field(default=f"{_PARAM}.schema", compare=False)
    budget: StepBudget = field(default_factory=StepBudget, compare=False)

    def __call__(self, text: str) -> bool:
        """Whether a text meets the format; raises the errors of `problem_of`."""
        return self.problem_of(text) is None

    def problem_of(self, text: str) -> str | None:
        """What is wrong with a text; None where it meets the format.

        Raises:
            ApiError: 400: to validate the request's answers against its schema takes too many steps.
        """
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            return f"it is not valid JSON ({error})"
        try:
            return problem_with(value, self.schema_text, self.budget)
        except TooManyStepsError:
            message = (
                f"To validate the model's answers against the schema takes more than {STEPS_OF_A_REQUEST} steps, "
                "which is all that a request has. Use fewer references, alternatives and nested schemas."
            )
            raise ApiError(400, message, param=self.schema_param, code="schema_too_complex") from None

    def not_met(self, said: str, problem: str) -> ApiError:
        """400 for an answer that is not what the request wants; to ask again would bring the same."""
        message = (
            f"The model's answer does not meet the '{self.param}': {problem}. It said: {quoted(said)}. This server "
            f"checks answers and can't constrain them: fine-tune the model on answers of this format, or leave "
            f"'{self.param}' out."
        )
        return ApiError(400, message, param=self.param, code="response_format_not_met")


def schema_format(name: str, schema: JsonObject, *, param: str, schema_param: str) -> AnswerFormat:
    """What answers that must meet a schema are validated against.

    Args:
        name: What the client calls it.
        schema: The JSON Schema.
        param: The request's field that asks for it.
        schema_param: Where in it the schema is.

    Raises:
        ApiError: 400: the schema can't be used.
    """
    try:
        schema_text = text_of_schema(schema)
        check_schema(schema_text)
    except InvalidSchemaError as error:
        message = f"Invalid schema for response_format '{name}': {error}."
        raise ApiError(400, message, param=schema_param, code="invalid_schema") from None
    return AnswerFormat(schema_text, param, schema_param)


def quoted(said: str) -> str:
    """What a model said, as an error quotes it: of a long answer, the beginning."""
    return repr(said if len(said) <= _SAID_CHARACTERS else f"{said[:_SAID_CHARACTERS]}…")


def text_of_schema(schema: JsonObject) -> str:
    """A schema as text; equal schemas have equal texts.

    Raises:
        InvalidSchemaError: It is nested too deeply, or holds a number that JSON does not have.
    """
    try:
        return json.dumps(schema, sort_keys=True, allow_nan=False)
    except RecursionError:
        raise InvalidSchemaError("it is nested too deeply") from None
    except ValueError:
        raise InvalidSchemaError("it holds a number that JSON has not") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


class FunctionCall(NamedTuple):
    """A call in an answer: the function's name, and where in the answer's text its arguments begin and end."""

    name: str
    start: int
    end: int


class CalledAnswer(NamedTuple):
    """What an answer says, None where it says nothing, and the calls after it."""

    content: str | None
    calls: tuple[FunctionCall, ...]


@dataclass(frozen=True, slots=True)
class CallFormat:
    """Checks whether a text calls the functions of a request correctly; equal to another that accepts the same texts.

    Attributes:
        functions: Names of the functions that may be called, with what their arguments are validated against, in the
            order of the request.
        is_required: Whether there must be a call.
        is_parallel: Whether there may be several.
        text_format: What an answer without a call is validated against; None where any text will do.
        param: The request's field that asks for calls.
    """

    functions: tuple[tuple[str, AnswerFormat], ...]
    is_required: bool
    is_parallel: bool
    text_format: AnswerFormat | None = None
    param: str = "tool_choice"

    def __call__(self, text: str) -> bool:
        """Whether a text meets the format; raises the errors of `problem_of`."""
        return self.problem_of(text) is None

    def problem_of(self, text: str) -> str | None:
        """What is wrong with a text; None where it meets the format.

        Raises:
            ApiError: 400: to validate the request's answers against its schemas takes too many steps.
        """
        calls = find_calls(text).calls
        if not calls and not self.is_required:
            return self.text_format.problem_of(text) if self.text_format else None
        if not calls:
            return self._problem_of_arguments(text)
        if len(calls) > 1 and not self.is_parallel:
            return f"it makes {len(calls)} calls, expected one"
        problems = (self._problem_of_call(text, call) for call in calls)
        return next((problem for problem in problems if problem), None)

    def read(self, text: str, *, is_cut: bool) -> CalledAnswer:
        """Find the calls in a text that meets the format, or that a token limit cut before it could."""
        content, calls = find_calls(text, is_cut=is_cut)
        if calls:
            named = (FunctionCall(call.name or self._default, call.start, call.end) for call in calls)
            return CalledAnswer(content or None, tuple(named))
        if not self.is_required:
            return CalledAnswer(text, ())
        start = len(text) if is_cut and is_beginning_of_call(text) else 0
        return CalledAnswer(None, (FunctionCall(self._called_by(text), start, len(text)),))

    def not_met(self, said: str, problem: str) -> ApiError:
        """400 for an answer that is not what the request wants; to ask again would bring the same."""
        if self.text_format and not self.is_required and not find_calls(said).calls:
            return self.text_format.not_met(said, problem)
        names = ", ".join(f"'{name}'" for name, _ in self.functions)
        message = (
            f"The model's answer is not a valid call of {names}: {problem}. It said: {quoted(said)}. This server "
            "checks answers and can't constrain them: fine-tune the model on examples with such tool calls, or on "
            "answers that are the arguments as JSON."
        )
        return ApiError(400, message, param=self.param, code="tool_call_not_met")

    @property
    def _default(self) -> str:
        return self.functions[0][0]

    def _called_by(self, arguments: str) -> str:
        """The first function whose schema the arguments meet."""
        fitting = (name for name, schema in self.functions if _problem_of_object(arguments, schema) is None)
        return self._default if len(self.functions) == 1 else next(fitting, self._default)

    def _problem_of_arguments(self, text: str) -> str | None:
        problems = [_problem_of_object(text, schema) for _, schema in self.functions]
        return None if None in problems else _joined(problems, self.functions)

    def _problem_of_call(self, text: str, call: WrittenCall) -> str | None:
        schemas = [schema for name, schema in self.functions if name == call.name]
        if not schemas:
            return f"it calls '{call.name}'"
        return _problem_of_object(text[call.start : call.end], schemas[0])


def _problem_of_object(arguments: str, schema: AnswerFormat) -> str | None:
    problem = schema.problem_of(arguments)
    return problem or (None if arguments.lstrip().startswith("{") else "the arguments are not a JSON object")


def _joined(problems: Sequence[str | None], functions: Sequence[tuple[str, AnswerFormat]]) -> str:
    if len(functions) == 1:
        return str(problems[0])
    return "; ".join(
        f"as arguments of '{name}', {problem}" for (name, _), problem in zip(functions, problems, strict=True)
    )
