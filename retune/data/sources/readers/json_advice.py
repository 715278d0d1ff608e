"""Advice on JSON files that can't be read, by their content."""

from itertools import islice
from pathlib import PurePosixPath

from retune.training_lines.keys import JsonMapping

ADVICE = "Write the examples as [{…}, {…}], or one object a line with --format jsonl."

_LEAST_ALIKE = 2
_MOST_LEVELS, _MOST_ITEMS = 8, 20
_BY_COLUMNS = (
    "pandas writes tables so, by columns; write it by rows: df.to_json('FILE.jsonl', orient='records', lines=True), or "
    "python -c \"import pandas; pandas.read_json('{name}').to_json('{jsonl}', orient='records', lines=True)\""
)


def advice_on_text(text: str, place: int) -> str:
    """What to do about text that isn't JSON from a place on."""
    found, before = text[place : place + 2], text[:place].rstrip()
    if found in ("//", "/*") or found[:1] == "#":
        return "JSON has no comments: remove what starts with // or #."
    if found[:1] in ("]", "}") and before.endswith(","):
        return "Remove the comma before it: in JSON none stands after the last value."
    if found[:1] == "'":
        return "JSON has double quotes alone. Python prints single ones: write the file by json.dump."
    return ADVICE


def outline_of(value: object, level: int = 0) -> object:
    """The start of a value, so far as advice depends on it: a few items of each array and object."""
    if isinstance(value, dict) and level < _MOST_LEVELS:
        return {key: outline_of(item, level + 1) for key, item in islice(value.items(), _MOST_ITEMS)}
    if isinstance(value, list) and level < _MOST_LEVELS:
        return [outline_of(item, level + 1) for item in value[:_MOST_ITEMS]]
    return value if isinstance(value, str) and not value else "…"


def advice_on_object(name: str, members: JsonMapping) -> str:
    """What to do about a document that is an object without one array of rows.

    Args:
        name: The file.
        members: Its first members, as `outline_of` has them.
    """
    target = PurePosixPath(name).with_suffix(".jsonl").name
    values = list(members.values())
    if path := _path_of_rows(members, ""):
        return _jq(name, f"{path}[]", target)
    if all(isinstance(value, dict) and value for value in values):
        is_by_column = all(key.isdecimal() for value in values for key in value)
        return _by_columns(name, target) if is_by_column else _jq(name, ".[]", target)
    if len(values) >= _LEAST_ALIKE and all(isinstance(value, str) for value in values):
        return _jq(name, "to_entries[] | {question: .key, answer: .value}", target)
    if {"columns", "data"} <= members.keys():
        return "pandas writes tables so; write it by rows: df.to_json('FILE.jsonl', orient='records', lines=True)"
    is_by_column = sum(isinstance(value, list) for value in values) >= _LEAST_ALIKE
    return _by_columns(name, target) if is_by_column else ADVICE


def advice_on_elements(found: str) -> str:
    """What to do about an array whose elements are not objects.

    Args:
        found: How the first of them starts, after a word.
    """
    if found.startswith("found ["):
        return "Name what they hold: jq -c '.[] | {question: .[0], answer: .[1]}' FILE.json > FILE.jsonl"
    return f"An example needs what the user says and the answer. {ADVICE}"


def _by_columns(name: str, target: str) -> str:
    return _BY_COLUMNS.format(name=name, jsonl=target)


def _jq(name: str, program: str, target: str) -> str:
    return f"Write the examples one a line, and name that file: jq -c '{program}' '{name}' > '{target}'"


def _path_of_rows(value: object, path: str) -> str | None:
    """Where in an outline the first array of objects is, as jq writes it."""
    if isinstance(value, list):
        return path if value and all(isinstance(item, dict) for item in value) else None
    if not isinstance(value, dict):
        return None
    inner = (_path_of_rows(item, f"{path}{_step(key)}") for key, item in value.items())
    return next((found for found in inner if found), None)


def _step(key: str) -> str:
    return f".{key}" if key.isidentifier() and key.isascii() else f'["{key}"]'
