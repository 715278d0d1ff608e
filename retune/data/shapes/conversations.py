"""Ready conversations: chat messages as the API takes them, or as ShareGPT writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retune.data.blocks import Finding
from retune.data.checks.structure import EXAMPLE_KEYS
from retune.data.shapes.cells import UnusableCellError, json_value, parsed_cell
from retune.data.shapes.column_names import MESSAGES, listed, near_key
from retune.data.shapes.rows import RowShape
from retune.data.shapes.sharegpt import api_tools, from_sharegpt

SETTINGS = tuple(key for key in EXAMPLE_KEYS if key != MESSAGES)


@dataclass
class ConversationsShape(RowShape):
    """A conversation in every row.

    Attributes:
        column: Column with the messages.
        keeps_neighbours: Rows are lines of chat JSONL, whose other keys belong to the example; of a table, only
            columns that bear the name of such a key do.
        is_sharegpt: Messages are written `{"from": "human", "value": "…"}`, or in another way that is not the API's.
    """

    column: str
    keeps_neighbours: bool
    is_sharegpt: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that every file must have."""
        return (self.column, *self.system.columns)

    @property
    def keeps_plain_messages(self) -> bool:
        """Whether nothing is converted, and nothing beside the messages is asked for."""
        is_as_it_is = self.column == MESSAGES and not self.is_sharegpt
        return is_as_it_is and not self.split.names and self.system.template is None

    def body(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Finding, ...]]:
        """The conversation, and the settings beside it."""
        beside, messages = read_conversation(values, self.column, is_sharegpt=self.is_sharegpt)
        if isinstance(messages, list):
            messages = self.system.put_before(messages, values)
        if self.keeps_neighbours:
            dropped = {self.column, *self.split.names} - set(EXAMPLE_KEYS)
            kept = {key: value for key, value in values.items() if key not in dropped}
        else:
            kept = settings_beside(values)
            if self.is_sharegpt and "tools" in kept:
                kept["tools"] = api_tools(kept["tools"])
        return {**kept, **beside, MESSAGES: messages}, ()


def read_conversation(values: Mapping[str, Any], column: str, *, is_sharegpt: bool) -> tuple[dict[str, Any], Any]:
    """The conversation in a cell, and what stands beside it in there.

    Returns:
        Settings such as tools, where the cell holds a whole example; and the messages, of whatever kind they are.

    Raises:
        UnusableCellError: The cell is missing or isn't JSON.
    """
    if values.get(column) is None:
        near = near_key(column, values) if column not in values else None
        advice = f' Is "{near}" meant to be "{column}"?' if near else ""
        message = f"expected a list of messages in {column}, found none; there is: {_filled(values)}.{advice}"
        raise UnusableCellError(Finding("missing_messages", message))
    expected = "a JSON list of messages"
    found = parsed_cell(values[column], column, kind="cell_not_messages", expected=expected)
    beside: dict[str, Any] = {}
    if isinstance(found, dict) and MESSAGES in found:
        beside = {key: value for key, value in found.items() if key != MESSAGES}
        found = found[MESSAGES]
    if is_sharegpt and isinstance(found, list):
        found = from_sharegpt(found)
    return beside, found


def settings_beside(values: Mapping[str, Any]) -> dict[str, Any]:
    """Tools and the like from the columns that bear their names; JSON is read where they are text.

    Raises:
        UnusableCellError: A cell isn't JSON.
    """
    settings: dict[str, Any] = {}
    for key in SETTINGS:
        value = values.get(key)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        if key == "parallel_tool_calls" and isinstance(value, str):
            value = value.lower()
        settings[key] = json_value(parsed_cell(value, key, kind="bad_tools", expected="JSON"), key)
    return settings


def _filled(values: Mapping[str, Any]) -> str:
    return listed([name for name, value in values.items() if value is not None])
