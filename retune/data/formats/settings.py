"""Settings that accompany an example's messages: its tools, and whether they may be called in parallel."""

from collections.abc import Iterable, Sequence

from retune.data.formats.cells import json_value, parsed_cell, structures_in
from retune.data.formats.column_names import MESSAGES
from retune.data.formats.content_blocks import api_tools
from retune.training_lines.keys import EXAMPLE_KEYS, JsonMapping, JsonObject

SETTINGS = tuple(key for key in EXAMPLE_KEYS if key != MESSAGES)
"""The columns, and keys of lines, that hold them."""

_FLAG = "parallel_tool_calls"
_LISTS = ("tools", "functions")


def settings_beside(values: JsonMapping, keys: Sequence[str] = SETTINGS) -> JsonObject:
    """Tools and the like from the columns that bear their names; JSON is read where they are text.

    What holds nothing is left out. Tools of other services become the API's.

    Raises:
        UnusableCellError: A cell isn't JSON.
    """
    settings: JsonObject = {}
    for key in keys:
        value = values.get(key)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        if key == _FLAG and isinstance(value, str):
            value = value.lower()
        found = json_value(parsed_cell(value, key, kind="bad_tools", expected="JSON"), key)
        if found is None or (key in _LISTS and found == []):
            continue
        settings[key] = api_tools(found) if key == "tools" else found
    return settings


def find_settings(columns: Iterable[str], rows: Sequence[JsonMapping]) -> tuple[str, ...]:
    """The columns among these that hold tools: their names say so, and so do all cells of the first rows.

    Beside texts a column of that name may hold anything.
    """
    lists = [name for name in _LISTS if name in columns and _hold_objects(name, rows)]
    return (*lists, _FLAG) if lists and _FLAG in columns else tuple(lists)


def _hold_objects(column: str, rows: Sequence[JsonMapping]) -> bool:
    found = structures_in(row.get(column) for row in rows)
    objects = [item for each in found if isinstance(each, list) for item in each]
    return bool(objects) and all(isinstance(item, dict) and ("function" in item or "name" in item) for item in objects)
