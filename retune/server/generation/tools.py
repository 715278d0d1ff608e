"""`tools` and `tool_choice` of a request, and the legacy `functions` and `function_call`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator, FailFast, Field
from pydantic_core import PydanticCustomError

from retune.server.api.request_bodies import RequestModel, at_most, shown
from retune.server.errors import ApiError
from retune.server.generation.answer_formats import AnswerFormat, CallFormat, text_of_schema
from retune.server.generation.answer_schema import InvalidSchemaError, SchemaCheck, StepBudget
from retune.training_lines.keys import JsonObject

_MAX_TOOLS: Final = 128
_MODES: Final = ("none", "auto", "required")


class FunctionDefinition(RequestModel):
    """A function that a model may call; `strict` changes nothing: its arguments are checked in any case."""

    name: str = Field(pattern="^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


def functions_alone(value: object) -> object:
    """A tool's type, where it is the one that there is, or no type at all.

    Raises:
        PydanticCustomError: It is another of the API's.
    """
    if isinstance(value, str) and value != "function":
        raise PydanticCustomError(
            "unsupported_value",
            "tools of the type '{type}' are not supported by this server; expected 'function'",
            {"type": value[:64]},
        )
    return value


class Tool(RequestModel):
    """A tool; of its kinds there are functions alone."""

    type: Annotated[Literal["function"], BeforeValidator(functions_alone)]
    function: FunctionDefinition


Tools: TypeAlias = Annotated[list[Tool] | None, FailFast(), at_most(_MAX_TOOLS, "items")]
Functions: TypeAlias = Annotated[list[FunctionDefinition] | None, FailFast(), at_most(_MAX_TOOLS, "items")]


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which functions a model may or must call.

    Attributes:
        names: Of those that it may call; None for all.
        is_required: Whether it must call one.
        is_named: Whether the request names the one function.
    """

    names: frozenset[str] | None = None
    is_required: bool = False
    is_named: bool = False


@dataclass(frozen=True, slots=True)
class Calling:
    """What a request with functions wants.

    Attributes:
        format: What answers are validated against.
        is_named: Whether the request names the one function to call.
        is_legacy: Whether it asks by `functions`.
    """

    format: CallFormat
    is_named: bool
    is_legacy: bool = False


def read_choice(choice: object, names: Sequence[str], *, param: str = "tool_choice") -> ToolChoice | None:
    """Read a `tool_choice` or `function_call`.

    Args:
        choice: As it came.
        names: Of the request's functions.
        param: Which field it is.

    Returns:
        The choice; None where nothing may be called.

    Raises:
        ApiError: 400: it is none, or names what is not there.
    """
    tools = "tools" if param == "tool_choice" else "functions"
    modes = _MODES if param == "tool_choice" else _MODES[:2]
    if isinstance(choice, str) and choice not in modes:
        expected = ", ".join(f"'{mode}'" for mode in modes)
        message = f"Invalid value: {shown(choice)}. Supported values are: {expected}."
        raise ApiError(400, message, param=param, code="invalid_value")
    found = _read_mode(choice) if choice is None or isinstance(choice, str) else _read_object(choice, param)
    if not names:
        if found and found.is_required:
            message = f"Invalid value for '{param}': '{param}' is only allowed when '{tools}' are specified."
            raise ApiError(400, message, param=param)
        return None
    unknown = sorted(found.names - set(names)) if found and found.names else []
    if unknown:
        message = (
            f"Invalid value for '{param}': no function named {unknown[0]} was specified in the '{tools}' parameter."
        )
        raise ApiError(400, message, param=param)
    return found


def call_format(
    functions: Sequence[FunctionDefinition],
    choice: ToolChoice,
    *,
    is_parallel: bool,
    text_format: AnswerFormat | None,
    param: str,
    place: str,
) -> CallFormat:
    """What answers of a request with functions are validated against.

    Args:
        functions: All of the request's functions.
        choice: Which of them may or must be called.
        is_parallel: Whether several calls may be made at once.
        text_format: What answers without a call must be.
        param: The field that asks for calls.
        place: Where the parameters of function `{}` are in the request.

    Raises:
        ApiError: 400: the schema of a function can't be used.
    """
    check, budget, found = SchemaCheck(), StepBudget(), []
    for index, function in enumerate(functions):
        where = place.format(index)
        may_be_called = choice.names is None or function.name in choice.names
        # Responses repeat the others all the same: they must be JSON.
        text = schema_text(function, where, check if may_be_called else None)
        if may_be_called:
            found.append((function.name, AnswerFormat(text, param, where, budget)))
    return CallFormat(tuple(found), choice.is_required, is_parallel, text_format, param)


def schema_text(function: FunctionDefinition, where: str, check: SchemaCheck | None = None) -> str:
    """The schema of a function's arguments as text.

    Raises:
        ApiError: 400, naming `where`: it is not JSON, or `check` refuses it.
    """
    try:
        text = text_of_schema(function.parameters or {})
        if check:
            check.add(text)
    except InvalidSchemaError as error:
        message = f"Invalid schema for function '{function.name}': {error}."
        raise ApiError(400, message, param=where, code="invalid_function_parameters") from None
    return text


def _read_mode(choice: str | None) -> ToolChoice | None:
    return None if choice == "none" else ToolChoice(is_required=choice == "required")


def _read_object(choice: object, param: str) -> ToolChoice:
    if isinstance(choice, Mapping):
        if param == "function_call" and isinstance(choice.get("name"), str):
            return ToolChoice(frozenset({choice["name"]}), is_required=True, is_named=True)
        if param == "tool_choice" and choice.get("type") == "allowed_tools":
            return _read_allowed(choice.get("allowed_tools"))
        if param == "tool_choice" and (name := _name_of(choice)) is not None:
            return ToolChoice(frozenset({name}), is_required=True, is_named=True)
    raise _invalid_choice(param)


def _read_allowed(allowed: object) -> ToolChoice:
    tools = allowed.get("tools") if isinstance(allowed, Mapping) else None
    if isinstance(allowed, Mapping) and allowed.get("mode") in ("auto", "required") and isinstance(tools, list):
        names = [_name_of(tool) if isinstance(tool, Mapping) else None for tool in tools[:_MAX_TOOLS]]
        if names and None not in names:
            return ToolChoice(frozenset(filter(None, names)), is_required=allowed["mode"] == "required")
    raise _invalid_choice("tool_choice")


def _name_of(tool: Mapping[str, object]) -> str | None:
    function = tool.get("function")
    name = function.get("name") if tool.get("type") == "function" and isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


def _invalid_choice(param: str) -> ApiError:
    if param == "tool_choice":
        expected = "'none', 'auto', 'required', a function of 'tools', or 'allowed_tools' with a mode and functions"
    else:
        expected = "'none', 'auto', or an object with the name of a function"
    return ApiError(400, f"Invalid value for '{param}': expected {expected}.", param=param, code="invalid_value")
