"""Preference pairs for DPO: a conversation, a preferred answer and a rejected one."""

from dataclasses import dataclass
from functools import partial

from retune.data.formats.cells import UnusableCellError, messages_in, written_messages
from retune.data.formats.column_names import MESSAGES
from retune.data.formats.known_columns import Preference
from retune.data.formats.row_format import ColumnFormat
from retune.data.formats.settings import settings_beside
from retune.data.formats.templates import JoinedColumns
from retune.data.formats.transcripts import read_open_transcript, read_transcript
from retune.data.problems.problems import Finding
from retune.redaction.masking import shown
from retune.training_lines.keys import JsonMapping, JsonObject

_Messages = list[JsonObject]


@dataclass
class PreferenceFormat(ColumnFormat):
    """A pair in every row, made into what the API takes.

    Attributes:
        pair: The columns that hold it.
        has_transcripts: Both answers are whole conversations in one text, as HH-RLHF has them.
        template: The chat template whose marks stand in the prompts; None where there are none.
    """

    pair: Preference
    has_transcripts: bool = False
    template: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that every file must have."""
        about = () if self.pair.about is None else (self.pair.about,)
        return (*self.pair.columns, *about, *self.system.columns)

    def body(self, values: JsonMapping) -> tuple[JsonObject, tuple[Finding, ...]]:
        """`input`, `preferred_output` and `non_preferred_output`."""
        missing = [column for column in self.pair.columns if values.get(column) is None]
        if missing:
            message = f"expected {', '.join(self.pair.columns)}; there is nothing in {', '.join(missing)}."
            raise UnusableCellError(Finding("bad_preference", message))
        given = self._read_input(values)
        preferred, non_preferred = map(partial(self._read_answer, values), self.pair.columns[-2:])
        shared = preferred[:-1]
        if shared and shared == non_preferred[:-1]:
            # TRL's conversational data sets have the conversation in both answers, or its last turns.
            given[MESSAGES] = _join(given[MESSAGES], shared)
            preferred, non_preferred = preferred[-1:], non_preferred[-1:]
        given[MESSAGES], findings = self.framed(given[MESSAGES], values)
        return {"input": given, "preferred_output": preferred, "non_preferred_output": non_preferred}, findings

    def _read_input(self, values: JsonMapping) -> JsonObject:
        """The messages, and the tools and the like that stand beside them."""
        beside = settings_beside(values, self.settings)
        prompt = self.pair.prompt
        if prompt is None:
            return {MESSAGES: [], **beside}
        if self.pair.about is not None:
            said = JoinedColumns((prompt, self.pair.about)).text(values)
            return {MESSAGES: [{"role": "user", "content": said}], **beside}
        cell = values[prompt]
        if self.template and isinstance(cell, str) and (asked := read_open_transcript(cell)) is not None:
            return {MESSAGES: asked, **beside}
        found = written_messages(cell, prompt)
        if isinstance(found, dict) and MESSAGES in found:
            if not isinstance(found[MESSAGES], list):
                message = f"{prompt}: expected a list of messages, found {shown(found[MESSAGES])}."
                raise UnusableCellError(Finding("bad_preference", message))
            return {**found, **beside}
        return {MESSAGES: messages_in(found, "user", prompt), **beside}

    def _read_answer(self, values: JsonMapping, column: str) -> _Messages:
        cell = values[column]
        if self.has_transcripts and isinstance(cell, str) and (said := read_transcript(cell)) is not None:
            return said
        return messages_in(written_messages(cell, column), "assistant", column)


def _join(prompt: _Messages, shared: _Messages) -> _Messages:
    if shared[0].get("role") == "assistant":
        return [*prompt, *shared]
    return prompt if prompt[-len(shared) :] == shared else shared
