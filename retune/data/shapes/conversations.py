"""Ready conversations: chat messages as the API takes them, or as ShareGPT writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retune.data.blocks import Finding
from retune.data.shapes.cells import UnusableCellError, parsed_cell
from retune.data.shapes.column_names import MESSAGES, listed, near_key
from retune.data.shapes.rows import RowShape
from retune.data.shapes.settings import settings_beside
from retune.data.shapes.sharegpt import api_tools, from_sharegpt


@dataclass
class ConversationsShape(RowShape):
    """A conversation in every row.

    Attributes:
        column: Column with the messages.
        is_sharegpt: Messages are written `{"from": "human", "value": "…"}`, or in another way that is not the API's.
    """

    column: str
    is_sharegpt: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that every file must have."""
        return (self.column, *self.system.columns)

    @property
    def keeps_plain_messages(self) -> bool:
        """Whether nothing is converted, and nothing beside the messages is asked for."""
        is_as_it_is = self.column == MESSAGES and not self.is_sharegpt
        return is_as_it_is and not (self.split.names or self.history or self.system.template)

    def body(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Finding, ...]]:
        """The conversation, and the settings beside it, in the row's order."""
        beside, messages = read_conversation(values, self.column, is_sharegpt=self.is_sharegpt)
        findings: tuple[Finding, ...] = ()
        if isinstance(messages, list):
            messages, findings = self.framed(messages, values)
        settings = settings_beside(values, self.settings)
        if self.is_sharegpt and "tools" in settings:
            settings["tools"] = api_tools(settings["tools"])
        known = {self.column: messages, **settings}
        body = {MESSAGES if key == self.column else key: known[key] for key in values if key in known}
        return {**body, **beside}, findings


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
        # A key that is not there says that the line is another kind of example, which is not empty.
        kind = "other_shape" if column not in values and _filled(values) else "missing_messages"
        raise UnusableCellError(Finding(kind, message))
    expected = "a JSON list of messages"
    found = parsed_cell(values[column], column, kind="cell_not_messages", expected=expected)
    beside: dict[str, Any] = {}
    if isinstance(found, dict) and MESSAGES in found:
        beside = {key: value for key, value in found.items() if key != MESSAGES}
        found = found[MESSAGES]
    if is_sharegpt and isinstance(found, list):
        found = from_sharegpt(found)
    return beside, found


def _filled(values: Mapping[str, Any]) -> str:
    return listed([name for name, value in values.items() if value is not None])
