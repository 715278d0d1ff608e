"""The fields of a row: a column, or what lies deeper in one, as `translation.en` and `answers.text.0` do."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from retune.data.formats.structures import structure_in
from retune.errors import SourceError
from retune.redaction.masking import listed

_MOST_SHOWN = 30


def find_root(name: str, columns: Iterable[str]) -> str:
    """The column that a field lies in: the column of that name, else the longest that it continues with a dot.

    A name that fits no column is its own.
    """
    names = list(columns)
    if name in names:
        return name
    return max((column for column in names if name.startswith(f"{column}.")), key=len, default=name)


def field_value(values: Mapping[str, Any], name: str) -> Any:
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


def check_fields(rows: Sequence[Mapping[str, Any]], names: Iterable[str], columns: Sequence[str]) -> None:
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


def _step(value: Any, part: str) -> Any:
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
