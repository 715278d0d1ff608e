"""Ready conversations: chat messages as the API takes them, or as other programs write them."""

import re
from dataclasses import dataclass, replace
from itertools import pairwise

from retune.data.example.example import Example
from retune.data.formats.cells import UnusableCellError
from retune.data.formats.column_names import MESSAGES
from retune.data.formats.conversation_cells import read_conversation, written_conversation
from retune.data.formats.foreign_messages import unread_keys
from retune.data.formats.row_format import ColumnFormat
from retune.data.formats.settings import settings_beside
from retune.data.problems.problems import Finding
from retune.data.sources.blocks import Row
from retune.redaction.masking import shown
from retune.training_lines.keys import JsonMapping, JsonObject

_CALL_IN_TEXT = re.compile(r"\[\s*[\w.\- ]+\(.*\)\s*\]", re.DOTALL)


@dataclass
class MessagesFormat(ColumnFormat):
    """A conversation in every row.

    Attributes:
        column: Column with the messages.
        is_foreign: Messages of the first rows are written in another way than the API's.
    """

    column: str
    is_foreign: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that every file must have."""
        return (self.column, *self.system.columns)

    @property
    def keeps_plain_messages(self) -> bool:
        """Whether nothing is converted, and nothing beside the messages is asked for."""
        is_as_it_is = self.column == MESSAGES and not self.is_foreign
        return is_as_it_is and not (self.split.names or self.history or self.system.template)

    def body(self, values: JsonMapping) -> tuple[JsonObject, tuple[Finding, ...]]:
        """The conversation, and the settings beside it, in the row's order."""
        beside, messages = read_conversation(values, self.column)
        findings: tuple[Finding, ...] = ()
        if isinstance(messages, list):
            messages, findings = self.framed(messages, values)
            _refuse_calls_in_text(messages)
        settings = settings_beside(values, self.settings)
        known = {self.column: messages, **settings}
        body = {MESSAGES if key == self.column else key: known[key] for key in values if key in known}
        return {**body, **beside}, findings

    def _example(self, row: Row) -> Example:
        """The example, with the names of what foreign messages hold beside their texts."""
        example = super()._example(row)
        if not self.is_foreign or row.findings:
            return example
        try:
            _, found = written_conversation(row.values, self.column)
        except UnusableCellError:
            return example
        left = unread_keys(found) if isinstance(found, list) else ()
        return replace(example, other_keys=(*example.other_keys, *(f"{self.column}.{key}" for key in left)))


def _refuse_calls_in_text(messages: list[object]) -> None:
    """Do nothing unless a tool answers a call that stands in the text before, as ToolACE writes them.

    Raises:
        UnusableCellError: One does: which of both ways such calls are to be learned is for people to say.
    """
    pairs = enumerate(pairwise(message if isinstance(message, dict) else {} for message in messages), start=2)
    for number, (called, answered) in pairs:
        text = called.get("content")
        is_call = called.get("role") == "assistant" and isinstance(text, str) and "tool_calls" not in called
        if answered.get("role") == "tool" and is_call and _CALL_IN_TEXT.fullmatch(str(text).strip()):
            message = f"message {number} (tool) answers a call that message {number - 1} has as text: {shown(text)}."
            raise UnusableCellError(Finding("call_in_text", message))
