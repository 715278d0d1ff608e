"""Legacy prompts and completions, converted to conversations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from retune.data.formats.cells import UnusableCellError, cell_text, messages_in
from retune.data.formats.conversation_cells import read_prompt
from retune.data.formats.endings import Endings
from retune.data.formats.row_format import ColumnFormat, TwoTextColumns
from retune.data.formats.settings import settings_beside
from retune.data.problems.problems import Finding
from retune.redaction.masking import shown_part
from retune.training_lines.keys import JsonMapping, JsonObject


@dataclass
class PromptCompletionFormat(ColumnFormat):
    """A prompt and its completion in every row.

    Attributes:
        prompt: Column with the prompt.
        completion: Column with the completion.
        endings: What is stripped of them.
        template: The chat template whose marks stand in the prompts; None where there are none.
    """

    prompt: str
    completion: str
    endings: Endings
    template: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that every file must have."""
        return (self.prompt, self.completion, *self.system.columns)

    def body(self, values: JsonMapping) -> tuple[JsonObject, tuple[Finding, ...]]:
        """A conversation; a row without the separator or the stop sequence keeps its text as it is."""
        self.check_keys(values, (self.prompt, self.completion))
        prompt, unmarked = read_prompt(values, self.prompt, self.template)
        completion = messages_in(values.get(self.completion), "assistant", self.completion)
        findings = [
            *unmarked,
            *_strip_end(prompt, self.endings.separator, f"{self.prompt} does not end with the separator"),
            *_strip_end(completion, self.endings.stop, f"{self.completion} does not end with the stop sequence"),
        ]
        _strip_start(completion, self.endings.space)
        framed, conflicts = self.framed([*prompt, *completion], values)
        return {"messages": framed, **settings_beside(values, self.settings)}, (*findings, *conflicts)

    def verbatim(self) -> Self:
        """The same with separator, leading space and stop sequence left where they are: such models learn them."""
        title = f"{self.prompt} and {self.completion}, to the letter{self.system.title}"
        return replace(self, title=title, endings=Endings(), template=None)

    @property
    def two_text_columns(self) -> TwoTextColumns | None:
        """The columns, where nothing needs to be stripped and the split goes by no column."""
        is_framed = self.system.template is not None or self.history or self.settings
        if self.split.names or is_framed or self.template or self.endings != Endings():
            return None
        return TwoTextColumns(self.prompt, self.completion, self.system.fixed)


def find_endings(rows: Sequence[JsonMapping], prompt: str, completion: str) -> Endings:
    """Look for separator, leading space and stop sequence in some rows."""
    prompts, completions = (
        [text for text in (_only_text(row.get(column), column) for row in rows) if text]
        for column in (prompt, completion)
    )
    return Endings.find(prompts, completions)


def _only_text(cell: object, column: str) -> str | None:
    try:
        return None if isinstance(cell, list | dict) else cell_text(cell, column)
    except UnusableCellError:
        return None


def _strip_end(messages: list[Any], end: str, complaint: str) -> list[Finding]:
    """Strip the content of the last message; complain if it has no such end."""
    last = messages[-1] if messages else {}
    content = last.get("content")
    if not end or not isinstance(content, str):
        return []
    if not content.endswith(end):
        message = (
            f"{complaint} {end!r}, as most do; it ends with {shown_part(content, max(0, len(content) - len(end)))}."
        )
        return [Finding("separator_missing", message)]
    messages[-1] = {**last, "content": content.removesuffix(end)}
    return []


def _strip_start(messages: list[Any], start: str) -> None:
    first = messages[0] if messages else {}
    content = first.get("content")
    if start and isinstance(content, str):
        messages[0] = {**first, "content": content.removeprefix(start)}
