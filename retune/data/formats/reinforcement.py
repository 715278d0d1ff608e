"""Items for reinforcement fine-tuning: a conversation without its answer, and what the grader compares with."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from retune.data.formats.cells import json_value
from retune.data.formats.column_names import MESSAGES
from retune.data.formats.conversation_cells import read_conversation
from retune.data.formats.row_format import ColumnFormat
from retune.data.formats.settings import SETTINGS, settings_beside
from retune.data.formats.templates import ColumnText, TextSource
from retune.data.problems.problems import Finding
from retune.training_lines.keys import JsonMapping, JsonObject

REFERENCE = "reference_answer"


@dataclass
class ReinforcementFormat(ColumnFormat):
    """A conversation in every row; all other columns become fields of the item.

    Attributes:
        prompt: What the user says; None where conversations are ready.
        messages: Column with ready conversations; used where there is no `prompt`.
        answer: Put together from columns, it becomes the field `reference_answer`; a column alone keeps its name.
    """

    prompt: TextSource | None
    messages: str
    answer: TextSource | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that every file must have."""
        prompt = (self.messages,) if self.prompt is None else self.prompt.columns
        return (*prompt, *(self.answer.columns if self.answer else ()), *self.system.columns)

    def uses(self, column: str) -> bool:
        """All columns: the grader may compare with any."""
        return True

    def field_names(self, columns: Iterable[str]) -> list[str]:
        """Which of these columns become fields of the item."""
        prompt = () if self.prompt is None else self.prompt.columns
        # A field in a column leaves the others of it to the grader.
        declared = [self.split.declared_split] if self.split.is_found else []
        used = {
            MESSAGES,
            *SETTINGS,
            *prompt,
            *self.system.columns,
            *declared,
            *([self.history] if self.history else []),
        }
        if self.prompt is None:
            used.add(self.messages)
        return [column for column in columns if column not in used]

    def body(self, values: JsonMapping) -> tuple[JsonObject, tuple[Finding, ...]]:
        """`messages`, and the fields."""
        beside: JsonObject = {}
        messages: Any
        if self.prompt is None:
            beside, messages = read_conversation(values, self.messages)
        else:
            said = self.prompt.text(values)
            if said is None:
                self.check_keys(values, self.prompt.columns)
            messages = [{"role": "user", "content": said}]
        findings: tuple[Finding, ...] = ()
        if isinstance(messages, list):
            messages, findings = self.framed(messages, values)
        fields = {key: json_value(values[key], key) for key in self.field_names(values)}
        if self.answer is not None and not isinstance(self.answer, ColumnText):
            fields[REFERENCE] = self.answer.text(values)
        return {MESSAGES: messages, **fields, **settings_beside(values, self.settings), **beside}, findings
