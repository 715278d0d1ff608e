"""Columns of a source, found by their names, and fields deeper in them, as `translation.en` and `answers.text.0`."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from retune.data.formats.cells import structure_in
from retune.data.sources.blocks import Source
from retune.errors import SourceError
from retune.redaction.masking import listed
from retune.training_lines.keys import JsonMapping

_MOST_SHOWN = 30


def find_root(name: str, columns: Iterable[str]) -> str:
    """The column that a field lies in: the column of that name, else the longest that it continues with a dot.

    A name that fits no column is its own.
    """
    names = list(columns)
    if name in names:
        return name
    return max((column for column in names if name.startswith(f"{column}.")), key=len, default=name)


def field_value(values: JsonMapping, name: str) -> object:
    """The value of a field in a row; None where it is not there."""
    if name in values or "." not in name:
        return values.get(name)
    root = find_root(name, values)
    if root not in values:
        return None
    value = values[root]
    for part in _parts(name, root):
        value = _step(value, part)
    return value


def check_fields(rows: Sequence[JsonMapping], names: Iterable[str], columns: Sequence[str]) -> None:
    """Do nothing if each field is there in one of the first rows at least; a column alone always is.

    Raises:
        SourceError: It is in none of them; it says what is there in its place.
    """
    for name in names:
        root = find_root(name, columns)
        if root == name or root not in columns:
            continue
        reached = root
        values = [row.get(root) for row in rows]
        for part in _parts(name, root):
            values, above = [_step(value, part) for value in values], values
            if all(value is None for value in values):
                raise SourceError(
                    f'There is no field "{name}": {reached} has no {part}. {_describe(above, reached)}',
                    hint="Name a column, or a field that is in one: COLUMN.FIELD.",
                )
            reached = f"{reached}.{part}"


def _parts(name: str, root: str) -> list[str]:
    return name[len(root) + 1 :].split(".")


def _step(value: object, part: str) -> object:
    found = structure_in(value)
    if isinstance(found, dict):
        return found.get(part)
    if isinstance(found, list) and part.isascii() and part.isdecimal() and int(part) < len(found):
        return found[int(part)]
    return None


def _describe(values: Iterable[Any], name: str) -> str:
    keys: dict[str, None] = {}
    lengths: list[int] = []
    for value in values:
        found = structure_in(value)
        if isinstance(found, dict):
            keys |= dict.fromkeys(map(str, found))
        elif isinstance(found, list):
            lengths.append(len(found))
    if keys:
        return f"It has: {listed(list(keys)[:_MOST_SHOWN])}."
    if any(lengths):
        return f"It holds lists: {name}.0 is the first of each."
    return "It holds no fields, but text or numbers." if not lengths else "It holds empty lists."


MESSAGES = "messages"
_MOST_COLUMNS_SHOWN = 30


def check_columns(source: Source, names: Iterable[str], flags: Mapping[str, str]) -> None:
    """Do nothing if every file of a source has each of the columns once.

    Args:
        source: The source.
        names: The columns that are read.
        flags: Of columns that the user named, the flag that names them: "--user-column".

    Raises:
        SourceError: A column is missing or there twice; it names the file, its columns and the closest name.
    """
    wanted = list(dict.fromkeys(names))
    # A file none of whose first lines can be read has no columns; the checks name its lines one by one.
    for file in [file for file in source.files if file.columns]:
        where = source.name if len(source.files) == 1 else file.name
        for field in wanted:
            columns = source.columns_of(file)
            name = find_root(field, columns)
            if name not in columns:
                error = no_column(where, name, columns)
                raise error if file is source.files[0] else _unlike_the_first(error, name, source, flags)
            if file.columns.count(name) > 1:
                raise SourceError(f'{where} has more than one column "{name}".', hint="Give each its own name.")


def _unlike_the_first(error: SourceError, name: str, source: Source, flags: Mapping[str, str]) -> SourceError:
    """The error for a file of many, with what asks for the column, and what to do about it."""
    asked = f"{flags[name]} names it" if name in flags else "the names of the columns there say what is read"
    return SourceError(
        f"{error.message} {source.files[0].name} has it, and {asked}.",
        hint=f"{f'{error.hint} ' if error.hint else ''}Give all files the same columns, or leave this one out: a "
        "pattern in quotes names some files of a folder.",
    )


def near_key(name: str, keys: Iterable[str]) -> str | None:
    """The key that most likely is this one misspelt; None if there is none."""
    by_lower_case = {key.lower(): key for key in keys}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
    return by_lower_case[near[0]] if near else None


def no_column(where: str, name: str, columns: Sequence[str]) -> SourceError:
    """The error for a column that is not there, with the closest name."""
    by_lower_case = {column.lower(): column for column in columns}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
    hint = f'Did you mean "{by_lower_case[near[0]]}"?' if near else None
    return SourceError(f'{where} has no column "{name}". Its columns are: {listed_columns(columns)}.', hint=hint)


def listed_columns(columns: Sequence[str]) -> str:
    """Names of columns for a message, the first 30 of them."""
    shown = ", ".join(columns[:_MOST_COLUMNS_SHOWN])
    more = len(columns) - _MOST_COLUMNS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown or "(none)"


def find_column(columns: Sequence[str], name: str) -> str | None:
    """The column of that name, whatever its case; None if there is none, or several."""
    found = [column for column in columns if column.strip().lower() == name]
    return found[0] if len(found) == 1 else None
