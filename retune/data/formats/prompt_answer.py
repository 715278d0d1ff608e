"""A question and its answer, each from one column or from several."""

from dataclasses import dataclass, replace
from typing import Any, Self

from retune.data.formats.conversation_cells import read_prompt
from retune.data.formats.row_format import ColumnFormat, TwoTextColumns
from retune.data.formats.settings import settings_beside
from retune.data.formats.templates import ColumnText, JoinedColumns, TextSource
from retune.data.problems.problems import Finding
from retune.training_lines.keys import JsonMapping, JsonObject


@dataclass
class PromptAnswerFormat(ColumnFormat):
    """A question and its answer in every row.

    Attributes:
        user: What the user says.
        assistant: The answer.
        template: The chat template whose marks stand in what the user says; None where there are none.
    """

    user: TextSource
    assistant: TextSource
    template: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that every file must have."""
        return (*self.user.columns, *self.assistant.columns, *self.system.columns)

    @property
    def needed(self) -> tuple[str, ...]:
        """Those of them that every file must have; what an instruction is about may be missing."""
        about = self.user.columns[1:] if isinstance(self.user, JoinedColumns) else ()
        return tuple(name for name in super().needed if name not in about)

    def body(self, values: JsonMapping) -> tuple[JsonObject, tuple[Finding, ...]]:
        """A conversation of one question and one answer."""
        user, assistant = self.user.text(values), self.assistant.text(values)
        if user is None:
            self.check_keys(values, self.user.columns)
        if assistant is None:
            self.check_keys(values, self.assistant.columns)
        asked: list[Any] = [{"role": "user", "content": user}]
        unmarked: list[Finding] = []
        if self.template is not None:
            asked, unmarked = read_prompt(values, self.user.columns[0], self.template)
        framed, findings = self.framed([*asked, {"role": "assistant", "content": assistant}], values)
        return {"messages": framed, **settings_beside(values, self.settings)}, (*unmarked, *findings)

    def verbatim(self) -> Self:
        """The same with the marks of a chat template left where they are: such models learn them."""
        return replace(super().verbatim(), template=None)

    @property
    def two_text_columns(self) -> TwoTextColumns | None:
        """The columns, where nothing is put together and the split goes by no column."""
        if self.split.names or self.system.template is not None or self.history or self.settings or self.template:
            return None
        if not (isinstance(self.user, ColumnText) and isinstance(self.assistant, ColumnText)):
            return None
        return TwoTextColumns(self.user.column, self.assistant.column, self.system.fixed)
