"""What the cells of a table hold: text, JSON, messages; lists and objects as values, or written out."""

import ast
import json
import math
import warnings
from collections.abc import Iterable
from typing import Any

from retune.data.formats.foreign_messages import api_messages, is_foreign_message
from retune.data.problems.problems import Finding
from retune.data.text.jsonl import parse_json, refuse_too_many_values
from retune.redaction.masking import shown
from retune.training_lines.keys import MESSAGE_KEYS, ROLES, JsonObject

_OPENING = ("[", "{")
# Python's parser takes a hundred times the memory of the text.
_LONGEST_LITERAL = 1 << 20
_LITERAL_ERRORS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
_MISSING = (None, "")


def structure_in(value: object) -> list[Any] | dict[Any, Any] | None:
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


def python_literal(text: str) -> object:
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


def structures_in(cells: Iterable[object]) -> list[list[Any] | dict[Any, Any]]:
    """The structures of the filled cells; empty unless every one of them holds one."""
    filled = [cell for cell in cells if cell not in _MISSING]
    found = [structure for cell in filled if (structure := structure_in(cell)) is not None]
    return found if len(found) == len(filled) else []


def lone_text(value: object) -> str | None:
    """The text of a list of one text, written out or not; None for anything else."""
    found = structure_in(value)
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], str):
        return found[0]
    return None


class UnusableCellError(Exception):
    """A cell that no example can be made of; formats make a finding of it.

    Args:
        finding: What is wrong with it.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding)
        self.finding = finding


def cell_text(value: object, column: str) -> str | None:
    """Text as it is; numbers, booleans, lists and objects as their JSON; None where the cell is missing.

    Raises:
        UnusableCellError: Bytes that are not UTF-8, or more levels than can be written.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return _decode(value, column)
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bool | int | float | list | dict):
        try:
            return json.dumps(value, ensure_ascii=False, default=str)
        except RecursionError:
            raise _too_deep(column) from None
    return str(value)


def json_value(value: object, column: str) -> object:
    """The value as JSON can hold it: dates and the like as text, and what is not a number as null.

    Raises:
        UnusableCellError: Bytes that are not UTF-8, or more levels than can be written.
    """
    try:
        return _json_value(value, column)
    except RecursionError:
        raise _too_deep(column) from None


def _json_value(value: object, column: str) -> object:
    if isinstance(value, dict):
        return {str(key): _json_value(item, column) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item, column) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return cell_text(value, column)


def parsed_cell(value: object, column: str, *, kind: str, expected: str) -> object:
    """What the JSON in a cell says, or its list or object in Python's notation; a cell that isn't text as it is.

    Args:
        value: The cell.
        column: Its column, for the finding.
        kind: Of the finding.
        expected: What the cell should be, for the finding: "a JSON list of messages".

    Raises:
        UnusableCellError: The text isn't JSON.
    """
    text = _decode(value, column) if isinstance(value, bytes) else value
    if not isinstance(text, str):
        return text
    try:
        return parse_json(text)
    except ValueError as error:
        # Pandas writes lists into CSV files in this way.
        found = python_literal(text)
        if found is not None:
            return found
        is_python = text.lstrip().startswith(("[{'", "{'"))
        advice = " It is in Python's notation: write the column with json.dumps." if is_python else ""
        message = f"column {column}: expected {expected}, but it isn't JSON ({error}).{advice}"
        raise UnusableCellError(Finding(kind, message)) from None


def messages_in(value: object, role: str, column: str) -> list[JsonObject]:
    """The messages of a cell: a list of them, or one; any other cell's text as a message of this role.

    Raises:
        UnusableCellError: A list of something else, or bytes that are not UTF-8.
    """
    messages = [value] if isinstance(value, dict) else value
    if isinstance(messages, list):
        if all(isinstance(message, dict) for message in messages):
            return api_messages(messages)
        message = f"{column}: expected text or a list of messages, found {shown(value)}."
        raise UnusableCellError(Finding("content_not_text", message))
    return [{"role": role, "content": cell_text(value, column)}]


def written_messages(value: object, column: str) -> object:
    """What a text writes out, where it plainly is messages or an object of them; else the cell as it is.

    Raises:
        UnusableCellError: Bytes that are not UTF-8.
    """
    text = _decode(value, column) if isinstance(value, bytes) else value
    found = structure_in(text)
    if not isinstance(text, str) or found is None:
        return text
    listed = found if isinstance(found, list) else found.get("messages", [found])
    is_meant = isinstance(listed, list) and bool(listed) and all(map(_is_message, listed))
    return found if is_meant else text


def _is_message(value: object) -> bool:
    if is_foreign_message(value):
        return True
    return isinstance(value, dict) and value.get("role") in ROLES and value.keys() <= set(MESSAGE_KEYS)


def _too_deep(column: str) -> UnusableCellError:
    return UnusableCellError(Finding("nested_too_deeply", f"column {column}: too many levels to write as JSON."))


def _decode(value: bytes, column: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        finding = Finding("not_utf8", f"column {column}: expected text, found bytes that are not UTF-8.")
        raise UnusableCellError(finding) from None
