"""Lists and objects that stand in a cell as values, or written out: as JSON, or as Python prints them."""

import ast
import json
import warnings
from collections.abc import Iterable
from typing import Any

from retune.data.text.jsonl import parse_json, refuse_too_many_values

_OPENING = ("[", "{")
# Python's parser takes a hundred times the memory of the text.
_LONGEST_LITERAL = 1 << 20
_LITERAL_ERRORS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
_MISSING = (None, "")


def structure_in(value: Any) -> list[Any] | dict[Any, Any] | None:
    """The list or object that a cell holds, or that its text writes out; None where it is anything else."""
    if isinstance(value, list | dict):
        return value
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if not isinstance(value, str) or not value.lstrip().startswith(_OPENING):
        return None
    try:
        found = parse_json(value)
    except ValueError:
        found = python_literal(value)
    return found if isinstance(found, list | dict) else None


def python_literal(text: str) -> Any:
    """What a text says in Python's notation, as pandas writes lists into CSV files; None where it isn't that."""
    if len(text) > _LONGEST_LITERAL or not text.lstrip().startswith(_OPENING):
        return None
    try:
        refuse_too_many_values(text)
        with warnings.catch_warnings():
            # Of escapes that Python does not know.
            warnings.simplefilter("ignore")
            found = ast.literal_eval(text.strip())
        # As JSON would have it: tuples become lists; sets and bytes are refused.
        return json.loads(json.dumps(found, allow_nan=False))
    except _LITERAL_ERRORS:
        return None


def structures_in(cells: Iterable[Any]) -> list[list[Any] | dict[Any, Any]]:
    """The structures of the filled cells; empty unless every one of them holds one."""
    filled = [cell for cell in cells if cell not in _MISSING]
    found = [structure for cell in filled if (structure := structure_in(cell)) is not None]
    return found if len(found) == len(filled) else []


def lone_text(value: Any) -> str | None:
    """The text of a list of one text, written out or not; None for anything else."""
    found = structure_in(value)
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], str):
        return found[0]
    return None
