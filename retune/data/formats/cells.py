"""What the cells of a table hold, as text, as JSON, as messages."""

import json
import math
from typing import Any

from retune.data.checks.messages import MESSAGE_KEYS, ROLES
from retune.data.formats.foreign_messages import api_messages, is_foreign_message
from retune.data.formats.structures import python_literal, structure_in
from retune.data.sources.blocks import Finding
from retune.data.text.jsonl import parse_json
from retune.redaction.masking import shown


class UnusableCellError(Exception):
    """A cell that no example can be made of; shapes make a finding of it.

    Args:
        finding: What is wrong with it.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding)
        self.finding = finding


def cell_text(value: Any, column: str) -> str | None:
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


def json_value(value: Any, column: str) -> Any:
    """The value as JSON can hold it: dates and the like as text, and what is not a number as null.

    Raises:
        UnusableCellError: Bytes that are not UTF-8, or more levels than can be written.
    """
    try:
        return _json_value(value, column)
    except RecursionError:
        raise _too_deep(column) from None


def _json_value(value: Any, column: str) -> Any:
    if isinstance(value, dict):
        return {str(key): _json_value(item, column) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item, column) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return cell_text(value, column)


def parsed_cell(value: Any, column: str, *, kind: str, expected: str) -> Any:
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


def messages_in(value: Any, role: str, column: str) -> list[dict[str, Any]]:
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


def written_messages(value: Any, column: str) -> Any:
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


def _is_message(value: Any) -> bool:
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
