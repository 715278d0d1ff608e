"""`response_format`: answers that must be JSON, or JSON of a given shape.

A model can't be made to write JSON token by token; what can be done honestly is to choose among the answers that it
knows, to look at the one that comes out, and to refuse to pass it on where it is something else.
"""

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from retune.server.api.request_fields import FEW_FIELDS
from retune.server.chat.answer_schema import (
    STEPS_OF_A_REQUEST,
    InvalidSchemaError,
    StepBudget,
    TooManyStepsError,
    check_schema,
    problem_with,
)
from retune.server.errors import ApiError, missing_parameter

_PARAM = "response_format.json_schema"
_SAID_CHARACTERS = 200


class JsonSchemaFormat(BaseModel):
    """A JSON Schema with a name; `strict` changes nothing: the answer is held to the schema in any case."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(pattern="^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """What the answer must be."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: Annotated[JsonSchemaFormat | None, FEW_FIELDS] = None

    def answer_format(self) -> "AnswerFormat | None":
        """What answers are validated against; None where any text will do.

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
    """Tells whether a text is JSON that meets a schema; equal to another of the same schema.

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
        """Whether a text meets the format; raises as of `problem_of`."""
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


def schema_format(name: str, schema: dict[str, Any], *, param: str, schema_param: str) -> AnswerFormat:
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


def text_of_schema(schema: dict[str, Any]) -> str:
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
    raise ValueError(f"{name} is no JSON number")
