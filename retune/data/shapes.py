"""From the rows of a table to examples."""

import difflib
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from retune.config import DataConfig
from retune.data.examples import Example
from retune.data.formats import Table
from retune.data.jsonl import parse_json
from retune.errors import SourceError

_MESSAGES = "messages"
_MOST_COLUMNS_SHOWN = 30


def read_examples(table: Table, config: DataConfig) -> list[Example]:
    """Make an example of every row, the way the configuration names the columns.

    Raises:
        SourceError: A column is missing or there twice, or a cell that should hold messages isn't JSON.
    """
    if config.user_column is not None and config.assistant_column is not None:
        return list(_question_and_answer(table, config, config.user_column, config.assistant_column))
    if config.messages_column in table.columns:
        return list(_conversations(table, config))
    if config.messages_column != _MESSAGES:
        raise _no_column(config.path, config.messages_column, table.columns)
    raise SourceError(
        f"{config.path} has the columns: {_listed(table.columns)}. Which holds what the user says, and which the "
        "answer?",
        hint=_how_to_name(table.columns),
    )


def _question_and_answer(table: Table, config: DataConfig, user: str, assistant: str) -> Iterator[Example]:
    names = [user, assistant]
    _check_columns(table, config.path, names)
    for location, values in table.rows(names):
        where = f"{config.path}, {location}"
        messages = [
            {"role": "user", "content": _cell_text(values.get(user), where)},
            {"role": "assistant", "content": _cell_text(values.get(assistant), where)},
        ]
        yield Example({"messages": _with_system(messages, config.system)}, location)


def _conversations(table: Table, config: DataConfig) -> Iterator[Example]:
    name = config.messages_column
    _check_columns(table, config.path, [name])
    for location, values in table.rows([name]):
        messages = values.get(name)
        if isinstance(messages, str):
            messages = _parse_cell(messages, f"{config.path}, {location}, column {name}")
        if isinstance(messages, list):
            messages = _with_system(messages, config.system)
        # A line of chat JSONL keeps its other keys, such as tools; another column's neighbours are no part of it.
        yield Example({**(values if name == _MESSAGES else {}), _MESSAGES: messages}, location)


def _with_system(messages: list[Any], system: str | None) -> list[Any]:
    """Put the system prompt first, unless the conversation brings its own."""
    first = messages[0] if messages else None
    has_own = isinstance(first, dict) and first.get("role") in ("system", "developer")
    return messages if system is None or has_own else [{"role": "system", "content": system}, *messages]


def _cell_text(value: Any, where: str) -> str | None:
    """Text as it is; numbers, booleans, lists and objects as their JSON; None where the cell is missing."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise SourceError(f"{where}: expected text, found bytes that are not UTF-8.") from None
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _parse_cell(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise SourceError(f"{where}: expected a JSON list of messages, but it isn't JSON ({error}).") from None


def _check_columns(table: Table, path: Path, names: Sequence[str]) -> None:
    for name in names:
        if name not in table.columns:
            raise _no_column(path, name, table.columns)
        if list(table.columns).count(name) > 1:
            raise SourceError(f'{path} has more than one column "{name}".', hint="Give each its own name.")


def _no_column(path: Path, name: str, columns: Sequence[str]) -> SourceError:
    by_lower_case = {column.lower(): column for column in columns}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
    hint = f'Did you mean "{by_lower_case[near[0]]}"?' if near else None
    return SourceError(f'{path} has no column "{name}". Its columns are: {_listed(columns)}.', hint=hint)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:_MOST_COLUMNS_SHOWN])
    more = len(columns) - _MOST_COLUMNS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown or "(none)"


def _how_to_name(columns: Sequence[str]) -> str:
    first, second = map(shlex.quote, columns[:2] if len(columns) > 1 else ("QUESTION", "ANSWER"))
    return (
        f"Name them, for example --user-column {first} --assistant-column {second}; or keep ready conversations "
        f'in a column "{_MESSAGES}".'
    )
