"""JSON Schemas that clients send: checked before use, evaluated within a budget of steps, and never fetched.

A schema is small, and its references lead to schemas within it, each resolved once. Evaluation takes steps, and a
request has a fixed number of them for all the answers that are validated against its schema.

A faster validator does not replace the budget. With `anyOf` of two equal references on each of 24 levels, 1,712
characters in all, jsonschema-rs takes 0.35 s of processor time, and twice that for each further level; it can neither
be given a limit of steps nor interrupted.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import extend
from pydantic_core import SchemaError as PatternError
from pydantic_core import SchemaValidator, core_schema

from retune.training_lines.keys import JsonObject

# Checking a schema takes about a quarter of a millisecond for each schema within it.
MAX_SCHEMA_CHARACTERS = 64_000
MAX_SCHEMAS_WITHIN = 2_000
# A pattern of a few characters can take a tenth of a second to compile.
MAX_PATTERNS = 20
# About a second on one core.
STEPS_OF_A_REQUEST = 200_000

# Evaluating these can take exponential time, or needs more than the schema itself.
_REFUSED = ("$dynamicRef", "$recursiveRef", "patternProperties", "unevaluatedItems", "unevaluatedProperties")
_SCHEMAS = {"additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then"}
_LISTS_OF_SCHEMAS = {"allOf", "anyOf", "oneOf", "prefixItems"}
_MAPS_OF_SCHEMAS = {"$defs", "definitions", "dependencies", "dependentSchemas", "properties"}
# The errors of these quote their schemas or values.
_QUOTING = {"const", "enum", "not", "oneOf"}
_QUOTED_IN_A_STEP, _MATCHED_IN_A_STEP, _COMPARED_IN_A_STEP = 400, 16, 50
_INDEX = re.compile("0|[1-9][0-9]{0,5}")
_PROBLEM_CHARACTERS = 300
# A request may have as many as it has tools.
_SCHEMAS_KEPT = 256
# Ten megabytes is the largest that one can be.
_PATTERNS_KEPT = 64


class InvalidSchemaError(Exception):
    """A schema that can't be used, and why."""


class TooManyStepsError(Exception):
    """A request's answers take more steps to validate against its schema than a request has."""


@dataclass(slots=True)
class StepBudget:
    """The steps that a request has left: about one for each keyword that a value is validated against."""

    steps: int = STEPS_OF_A_REQUEST

    def spend(self, steps: int) -> None:
        """Take steps.

        Raises:
            TooManyStepsError: Not enough are left.
        """
        self.steps -= steps
        if self.steps < 0:
            raise TooManyStepsError


def check_schema(schema_text: str) -> None:
    """Check a schema.

    Raises:
        InvalidSchemaError: It is not a JSON Schema of draft 2020-12, or uses what this server does not evaluate.
    """
    _checked(schema_text)


@dataclass(slots=True)
class SchemaCheck:
    """Checks the schemas of one request; the limits of one schema hold for all of them together."""

    characters: int = 0
    schemas: int = 0
    patterns: int = 0

    def add(self, schema_text: str) -> None:
        """Check one more.

        Raises:
            InvalidSchemaError: As `check_schema`; or the limits are exceeded together with the schemas before it.
        """
        checked = _checked(schema_text)
        self.characters += checked.length
        self.schemas += checked.n_schemas
        self.patterns += checked.n_patterns
        for found, most, what in (
            (self.characters, MAX_SCHEMA_CHARACTERS, "characters"),
            (self.schemas, MAX_SCHEMAS_WITHIN, "schemas within"),
            (self.patterns, MAX_PATTERNS, "patterns"),
        ):
            if found > most:
                raise InvalidSchemaError(f"with those before it there are {found} {what}, expected at most {most}")


def problem_with(value: object, schema_text: str, budget: StepBudget) -> str | None:
    """What keeps a JSON value from meeting a checked schema; None where it meets it.

    Raises:
        TooManyStepsError: The budget does not suffice.
    """
    schema = _checked(schema_text)
    _evaluation.set(_Evaluation(schema, budget))
    try:
        error = best_match(schema.validator.iter_errors(value))
    except (RecursionError, OverflowError) as failure:
        return f"it can't be checked against the schema ({failure})"
    return None if error is None else _cut(f"at {error.json_path}, {error.message}")


@dataclass(frozen=True, slots=True)
class _CheckedSchema:
    """A schema, the schemas within it by the references that lead to them, and how large it is."""

    validator: Any
    referenced: JsonObject
    length: int
    n_schemas: int
    n_patterns: int


@dataclass(frozen=True, slots=True)
class _Evaluation:
    schema: _CheckedSchema
    budget: StepBudget


_Check = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
_evaluation: ContextVar[_Evaluation] = ContextVar("evaluation")


def _counted(keyword: str, check: _Check) -> _Check:
    def check_within_budget(
        validator: object, wanted: object, value: object, schema: object
    ) -> Iterator[ValidationError]:
        evaluation = _evaluation.get()
        evaluation.budget.spend(_steps(keyword, wanted, value, evaluation.schema.length))
        yield from check(validator, wanted, value, schema) or ()

    return check_within_budget


def _steps(keyword: str, wanted: object, value: object, schema_length: int) -> int:
    """What it takes to validate a value against a keyword; each step is some microseconds, as measured."""
    steps = 1 + sum(len(part) for part in (wanted, value) if isinstance(part, dict | list))
    if keyword in _QUOTING:
        steps += schema_length // _QUOTED_IN_A_STEP
    elif keyword == "pattern" and isinstance(value, str):
        steps += len(value) // _MATCHED_IN_A_STEP
    elif keyword == "uniqueItems":
        steps += steps * steps // _COMPARED_IN_A_STEP  # items that have no order are compared each with each
    return steps


def _follow_reference(validator: Any, reference: str, value: Any, _: Any) -> Iterator[ValidationError]:
    yield from validator.descend(value, _evaluation.get().schema.referenced[reference])


def _match_pattern(_: object, pattern: str, value: object, __: object) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _pattern(pattern).isinstance_python(value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_CHECKS: dict[str, _Check] = {
    **Draft202012Validator.VALIDATORS,
    "$ref": _follow_reference,
    "pattern": _match_pattern,
}
_BoundedValidator = extend(  # type: ignore[no-untyped-call]  # the stubs give it no types
    Draft202012Validator, {keyword: _counted(keyword, check) for keyword, check in _CHECKS.items()}
)


@lru_cache(maxsize=_PATTERNS_KEPT)
def _pattern(pattern: str) -> SchemaValidator:
    # Python's own expressions can take exponential time, with the whole process waiting; these take linear time.
    return SchemaValidator(core_schema.str_schema(pattern=pattern))


@lru_cache(maxsize=_SCHEMAS_KEPT)
def _checked(schema_text: str) -> _CheckedSchema:
    if len(schema_text) > MAX_SCHEMA_CHARACTERS:
        raise InvalidSchemaError(f"it has {len(schema_text)} characters, and at most {MAX_SCHEMA_CHARACTERS} may be")
    try:
        root = json.loads(schema_text)
        schemas = _schemas_within(root)
        for schema in schemas:
            _check_keywords(schema, root)
        Draft202012Validator.check_schema(root, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        raise InvalidSchemaError(_cut(f"at {error.json_path}, {error.message}")) from None
    except RecursionError:
        raise InvalidSchemaError("it is nested too deeply") from None
    patterns = {schema["pattern"] for schema in schemas if "pattern" in schema}
    _check_patterns(patterns)
    references = {schema["$ref"] for schema in schemas if "$ref" in schema}
    resolved = _resolve(references, root, schemas)
    return _CheckedSchema(_BoundedValidator(root), resolved, len(schema_text), len(schemas), len(patterns))


def _schemas_within(root: object) -> list[JsonObject]:
    """A schema and those in it that have keywords; values that are not schemas are skipped.

    Raises:
        InvalidSchemaError: There are too many.
    """
    schemas: list[JsonObject] = []
    waiting, n_found = [root], 1
    while waiting:
        found = waiting.pop()
        if not isinstance(found, dict):
            continue
        schemas.append(found)
        for keyword, value in found.items():
            if keyword in _SCHEMAS:
                inner = [value]
            elif keyword in _LISTS_OF_SCHEMAS and isinstance(value, list):
                inner = value
            elif keyword in _MAPS_OF_SCHEMAS and isinstance(value, dict):
                inner = list(value.values())
            else:
                continue
            waiting.extend(inner)
            n_found += len(inner)
        if n_found > MAX_SCHEMAS_WITHIN:
            raise InvalidSchemaError(f"it is made of more than {MAX_SCHEMAS_WITHIN} schemas")
    return schemas


def _check_keywords(schema: JsonObject, root: JsonObject) -> None:
    for keyword in _REFUSED:
        if keyword in schema:
            raise InvalidSchemaError(f"'{keyword}' is not supported by this server")
    if "$id" in schema and schema is not root:
        raise InvalidSchemaError("'$id' is supported at the top of a schema alone")


def _check_patterns(patterns: set[str]) -> None:
    if len(patterns) > MAX_PATTERNS:
        raise InvalidSchemaError(f"it has {len(patterns)} different patterns, and at most {MAX_PATTERNS} may be")
    for pattern in sorted(patterns):
        try:
            _pattern(pattern)
        except PatternError as error:
            raise InvalidSchemaError(_cut(f"the pattern {pattern!r} can't be used ({error})")) from None


def _resolve(references: set[str], root: object, schemas: Sequence[JsonObject]) -> JsonObject:
    anchors = {schema[name]: schema for schema in schemas for name in ("$anchor", "$dynamicAnchor") if name in schema}
    places = {id(schema) for schema in schemas}
    resolved = {}
    for reference in references:
        if not reference.startswith("#"):
            words = f"'$ref' must lead to a place in the schema itself, and '{reference}' is never fetched"
            raise InvalidSchemaError(_cut(words))
        fragment = unquote(reference[1:])
        found = _follow_pointer(fragment, root) if fragment[:1] in {"", "/"} else anchors.get(fragment)
        if not isinstance(found, bool) and id(found) not in places:
            raise InvalidSchemaError(_cut(f"'$ref' leads to '{reference}', and there is no schema"))
        resolved[reference] = found
    return resolved


def _follow_pointer(pointer: str, root: object) -> object:
    """What a JSON Pointer (RFC 6901) leads to; None where there is nothing."""
    found = root
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and _INDEX.fullmatch(name) and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def _cut(text: str) -> str:
    return text if len(text) <= _PROBLEM_CHARACTERS else f"{text[:_PROBLEM_CHARACTERS]}…"
