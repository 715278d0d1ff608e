"""JSON Schemas that clients send: checked before use, evaluated within bounds, and never fetched from anywhere."""

import json
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]  # it ships no types
from jsonschema.exceptions import SchemaError, ValidationError, best_match  # type: ignore[import-untyped]  # it ships no types
from jsonschema.validators import extend  # type: ignore[import-untyped]  # it ships no types
from pydantic_core import SchemaError as PatternError
from pydantic_core import SchemaValidator, core_schema
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

# Evaluating these can take exponential time, or follows references past the bound below.
_REFUSED = ("$dynamicRef", "$recursiveRef", "patternProperties", "unevaluatedItems", "unevaluatedProperties")
_MAPS_OF_SCHEMAS = {"properties", "$defs", "definitions", "dependentSchemas"}
_DATA = {"const", "enum", "default", "examples"}
# References that lead to references multiply: sixty small definitions can ask for more checks than there is time.
_MAX_REFERENCES_FOLLOWED = 10_000
_PROBLEM_CHARACTERS = 300
_SCHEMAS_KEPT = 64


class InvalidSchemaError(Exception):
    """A schema that can't be used, and why."""


def check_schema(schema_text: str) -> None:
    """Check a schema.

    Raises:
        InvalidSchemaError: It is no JSON Schema of the draft 2020-12, or this server does not evaluate such ones.
    """
    _validator(schema_text)


def problem_with(value: Any, schema_text: str) -> str | None:
    """What keeps a JSON value from meeting a checked schema; None where it meets it."""
    _references_left.set(iter(range(_MAX_REFERENCES_FOLLOWED)))
    try:
        error = best_match(_validator(schema_text).iter_errors(value))
    except _TooManyReferencesError:
        return f"checking it follows more than {_MAX_REFERENCES_FOLLOWED} references of the schema"
    except (RecursionError, OverflowError) as failure:
        return f"it can't be checked against the schema ({failure})"
    return None if error is None else _cut(f"at {error.json_path}, {error.message}")


class _TooManyReferencesError(Exception):
    pass


_references_left: ContextVar[Iterator[int]] = ContextVar("references_left")


def _follow_reference(validator: Any, reference: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if next(_references_left.get(), None) is None:
        raise _TooManyReferencesError
    yield from Draft202012Validator.VALIDATORS["$ref"](validator, reference, value, schema)


def _match_pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _pattern(pattern).isinstance_python(value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_BoundedValidator = extend(Draft202012Validator, {"$ref": _follow_reference, "pattern": _match_pattern})


@lru_cache(maxsize=_SCHEMAS_KEPT)
def _pattern(pattern: str) -> SchemaValidator:
    # Python's own expressions can take exponential time, with the whole process waiting; these take linear time.
    return SchemaValidator(core_schema.str_schema(pattern=pattern))


@lru_cache(maxsize=_SCHEMAS_KEPT)
def _validator(schema_text: str) -> Any:
    schema = json.loads(schema_text)
    try:
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(formats=()))
        for keywords in _schemas_within(schema):
            _check_keywords(keywords, schema)
    except SchemaError as error:
        raise InvalidSchemaError(_cut(f"at {error.json_path}, {error.message}")) from None
    except RecursionError:
        raise InvalidSchemaError("it is nested too deeply") from None
    return _BoundedValidator(schema, registry=Registry())


def _schemas_within(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all that lie in it; what is data in it is none."""
    waiting = [schema]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting.extend(found)
        elif isinstance(found, dict):
            yield found
            for keyword, value in found.items():
                if keyword in _MAPS_OF_SCHEMAS:
                    waiting.extend(value.values())
                elif keyword not in _DATA:
                    waiting.append(value)


def _check_keywords(keywords: dict[str, Any], root: dict[str, Any]) -> None:
    for keyword in _REFUSED:
        if keyword in keywords:
            raise InvalidSchemaError(f"'{keyword}' is not supported by this server")
    if "$id" in keywords and keywords is not root:
        raise InvalidSchemaError("'$id' is supported at the top of a schema alone")
    if isinstance(pattern := keywords.get("pattern"), str):
        try:
            _pattern(pattern)
        except PatternError as error:
            raise InvalidSchemaError(_cut(f"the pattern {pattern!r} can't be used ({error})")) from None
    if isinstance(reference := keywords.get("$ref"), str):
        _check_reference(reference, root)


def _check_reference(reference: str, root: dict[str, Any]) -> None:
    if not reference.startswith("#"):
        raise InvalidSchemaError(
            f"'$ref' must lead to a place in the schema itself, and '{reference}' is never fetched"
        )
    try:
        Registry().resolver_with_root(DRAFT202012.create_resource(root)).lookup(reference)
    except Unresolvable:
        raise InvalidSchemaError(f"'$ref' leads to '{reference}', and there is nothing") from None


def _cut(text: str) -> str:
    return text if len(text) <= _PROBLEM_CHARACTERS else f"{text[:_PROBLEM_CHARACTERS]}…"
