"""pydantic's errors about a request, in the service's words and codes.

The words are those of `/v1/chat/completions`, as recorded in August and September 2026; the service's older routes word
some faults otherwise, and give them no code.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from pydantic_core import ErrorDetails

_QUOTED: Final = re.compile(r"'([^']*)'")
_LONGEST_VALUE: Final = 100

_EXPECTED: Final = {
    "int": "an integer",
    "float": "a decimal",
    "bool": "a boolean",
    "string": "a string",
    "list": "an array",
    "dict": "an object",
    "model": "an object",
    "model_attributes": "an object",
}


class Fault(NamedTuple):
    """The error of one field of a request.

    Attributes:
        message: For humans.
        param: The field; None for the request as a whole.
        code: For programs; None if the service has none.
    """

    message: str
    param: str | None
    code: str | None


def fault_of(problem: ErrorDetails) -> Fault:
    """The service's words for one of pydantic's errors, which must hold its `input`."""
    kind, location = str(problem["type"]), problem["loc"]
    name = field_name(location)
    describe = _DESCRIPTIONS.get(kind)
    if kind == "extra_forbidden":
        return _unknown(name or "", problem)
    if name is None:
        return Fault(f"Invalid request: {_message(problem)}.", None, "invalid_value")
    if describe is None and (expected := _expected_type(kind)):
        return _wrong_type(name, expected, problem["input"])
    if describe is None:
        return Fault(f"Invalid value for '{name}': {_message(problem)}.", name, _other_code(kind))
    if kind == "string_too_long" and location[-1] == "[key]":
        return _long_key(location, problem)
    return describe(name, problem)


def field_name(location: Sequence[str | int]) -> str | None:
    """A field as the service names it, `messages[0].role`; None for the body as a whole."""
    parts = [part for part in location if part not in {"body", "query", "path", "[key]"}]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".") or None


def type_name(value: object) -> str:
    """What the service calls the type of a JSON value."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "an integer", float: "a decimal number", str: "a string", list: "an array"}
    return names.get(type(value), "an object")


def unsupported_choice(name: str, value: object, choices: Sequence[str]) -> Fault:
    """The error for a field that must be one of several strings, and is not."""
    quoted = [f"'{choice}'" for choice in choices]
    if not isinstance(value, str):
        return _wrong_type(name, f"one of {_listed(quoted, 'or')}" if quoted[1:] else quoted[0], value)
    message = f"Invalid value: '{_cut(value)}'. Supported values are: {_listed(quoted, 'and')}."
    return Fault(message, name, "invalid_value")


def _wrong_type(name: str, expected: str, value: object) -> Fault:
    message = f"Invalid type for '{name}': expected {expected}, but got {type_name(value)} instead."
    return Fault(message, name, "invalid_type")


def _expected_type(kind: str) -> str | None:
    return "an integer" if kind == "int_from_float" else _EXPECTED.get(re.sub("_(type|parsing)$", "", kind))


def _missing(name: str, _: ErrorDetails) -> Fault:
    return Fault(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")


def _unknown(name: str, _: ErrorDetails) -> Fault:
    return Fault(f"Unknown parameter: '{name}'.", name, "unknown_parameter")


def _out_of_range(constraint: str) -> Callable[[str, ErrorDetails], Fault]:
    is_least = constraint in {"ge", "gt"}
    where, sign = ("below minimum", ">") if is_least else ("above maximum", "<")
    sign += "=" if constraint in {"ge", "le"} else ""

    def describe(name: str, problem: ErrorDetails) -> Fault:
        bound = problem["ctx"][constraint]
        number = "decimal" if isinstance(bound, float) else "integer"
        message = f"Invalid '{name}': {number} {where} value. Expected a value {sign} {_number(bound)}, but got "
        code = f"{number}_{'below_min' if is_least else 'above_max'}_value"
        return Fault(f"{message}{_cut(_number(problem['input']))} instead.", name, code)

    return describe


def _long_string(name: str, problem: ErrorDetails) -> Fault:
    return Fault(f"Invalid '{name}': {_string_too_long(problem)}", name, "string_above_max_length")


def _long_key(location: Sequence[str | int], problem: ErrorDetails) -> Fault:
    key, of = str(location[-2]), field_name(location[:-2])
    message = f"Invalid property name in '{of}': '{_cut(key)}' is too long. "
    limit = _string_too_long(problem).removeprefix("string too long. ")
    return Fault(message + limit, f"{of}.{_cut(key)}", "property_name_above_max_length")


def _string_too_long(problem: ErrorDetails) -> str:
    most, found = problem["ctx"]["max_length"], len(problem["input"])
    return (
        f"string too long. Expected a string with maximum length {most}, but got a string with length {found} instead."
    )


def _short_string(name: str, problem: ErrorDetails) -> Fault:
    least = problem["ctx"]["min_length"]
    message = f"empty string. Expected a string with minimum length {least}, but got an empty string instead."
    return Fault(f"Invalid '{name}': {message}", name, "empty_string")


def _short_array(name: str, problem: ErrorDetails) -> Fault:
    least = problem["ctx"]["min_length"]
    message = f"empty array. Expected an array with minimum length {least}, but got an empty array instead."
    return Fault(f"Invalid '{name}': {message}", name, "empty_array")


def _too_many(name: str, problem: ErrorDetails) -> Fault:
    most, found = problem["ctx"]["max_length"], len(problem["input"])
    if isinstance(problem["input"], dict):
        message = f"too many properties. Expected an object with at most {most} properties, but got an object with "
        return Fault(f"Invalid '{name}': {message}{found} properties instead.", name, "object_above_max_properties")
    message = f"array too long. Expected an array with maximum length {most}, but got an array with length {found} "
    return Fault(f"Invalid '{name}': {message}instead.", name, "array_above_max_length")


def _no_literal(name: str, problem: ErrorDetails) -> Fault:
    return unsupported_choice(name, problem["input"], _QUOTED.findall(problem["ctx"]["expected"]))


def _no_match(name: str, problem: ErrorDetails) -> Fault:
    pattern = problem["ctx"]["pattern"]
    message = f"string does not match pattern. Expected a string that matches the pattern '{pattern}'."
    return Fault(f"Invalid '{name}': {message}", name, "invalid_value")


def _custom_type(name: str, problem: ErrorDetails) -> Fault:
    return _wrong_type(name, problem["ctx"]["expected"], problem["input"])


_DESCRIPTIONS: Final[Mapping[str, Callable[[str, ErrorDetails], Fault]]] = {
    "missing": _missing,
    "greater_than_equal": _out_of_range("ge"),
    "greater_than": _out_of_range("gt"),
    "less_than_equal": _out_of_range("le"),
    "less_than": _out_of_range("lt"),
    "string_too_long": _long_string,
    "string_too_short": _short_string,
    "string_pattern_mismatch": _no_match,
    "too_short": _short_array,
    "too_long": _too_many,
    "literal_error": _no_literal,
    # This server's own: what pydantic has no word for.
    "wrong_type": _custom_type,
}


def _message(problem: ErrorDetails) -> str:
    return str(problem["msg"]).removeprefix("Value error, ")


def _other_code(kind: str) -> str:
    if kind == "unsupported_value":
        return kind
    return "invalid_type" if kind.endswith(("_type", "_parsing")) else "invalid_value"


def _number(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _listed(items: Sequence[str], word: str) -> str:
    if len(items) < 3:
        return f" {word} ".join(items)
    return f"{', '.join(items[:-1])}, {word} {items[-1]}"


def _cut(text: str) -> str:
    if len(text) <= _LONGEST_VALUE:
        return text
    half = _LONGEST_VALUE // 2
    return f"{text[:half]}...{text[-half:]}"
