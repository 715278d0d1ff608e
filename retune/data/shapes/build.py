"""Building each shape from what the user named, and from the usual names where nothing is named."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Never

from retune.config import DataConfig, SourceFormat
from retune.data.blocks import Source
from retune.data.checks.structure import EXAMPLE_KEYS
from retune.data.examples import last_assistant
from retune.data.shapes.cells import UnusableCellError
from retune.data.shapes.column_names import MESSAGES, find_column, listed, no_column, unknown_columns
from retune.data.shapes.columns import ColumnsShape
from retune.data.shapes.completions import CompletionsShape, find_endings
from retune.data.shapes.conversations import SETTINGS, ConversationsShape, read_conversation
from retune.data.shapes.known_columns import CONVERSATIONS, Pair, Preference, find_preference, find_prompt, guess_pair
from retune.data.shapes.preferences import PreferencesShape
from retune.data.shapes.reinforcement import ReinforcementShape
from retune.data.shapes.sharegpt import is_foreign_message, is_sharegpt_message
from retune.data.shapes.split_columns import SplitColumns
from retune.data.shapes.templates import SystemPrompt, TextSource, read_text_source
from retune.errors import SourceError

NEEDS = {
    "supervised": f'a question and its answer, or conversations in a column "{MESSAGES}"',
    "dpo": "a conversation with two answers: the columns input, preferred_output and non_preferred_output, or prompt, "
    "chosen and rejected",
    "reinforcement": f'a conversation without its answer in a column "{MESSAGES}", or a column with what the user '
    "says; and whatever the grader compares with in other columns",
}
"""What each method trains on, for people."""

_OBJECTS = (SourceFormat.JSONL, SourceFormat.JSON)


@dataclass(frozen=True)
class ShapeBuilder:
    """Builds shapes for one source.

    Attributes:
        source: The source, opened.
        data: What the user named.
        split: Columns that the split goes by.
        rows: The first rows that could be read.
    """

    source: Source
    data: DataConfig
    split: SplitColumns
    rows: Sequence[Mapping[str, Any]]

    @property
    def flags(self) -> dict[str, str]:
        """Of each column that the user named by itself, the flag that names it."""
        named = {
            self.data.user_column: "--user-column",
            self.data.assistant_column: "--assistant-column",
            self.data.messages_column if self.data.messages_column != MESSAGES else None: "--messages-column",
            **dict.fromkeys((self.split.group, self.split.side), "--split-column"),
        }
        return {column: flag for column, flag in named.items() if column is not None}

    @property
    def names_columns(self) -> bool:
        """Whether the user named columns, or templates, for what the user says and for the answer."""
        return self.data.user_column is not None or self.data.user_template is not None

    @cached_property
    def pair(self) -> Pair | None:
        """Question and answer by their names; a column that the split goes by is neither."""
        taken = {self.split.group, self.split.side}
        return guess_pair([column for column in self.source.columns if column not in taken])

    @cached_property
    def preference(self) -> Preference | None:
        """The columns of a preference pair; without a prompt, only if the answers are whole conversations."""
        found = find_preference(self.source.columns)
        if found is None or found.prompt is not None:
            return found
        return found if any(len(messages) > 1 for messages in self._conversations(found.preferred)) else None

    @cached_property
    def conversation_column(self) -> str | None:
        """The column that the user named, or one whose name and cells say that they are conversations."""
        if self.data.messages_column != MESSAGES or MESSAGES in self.source.columns:
            return self.data.messages_column
        found = (find_column(self.source.columns, name) for name in CONVERSATIONS)
        return next((name for name in found if name is not None and any(self._conversations(name))), None)

    def columns(self) -> ColumnsShape:
        """Question and answer from columns or templates."""
        user, assistant = self._named_texts()
        how, system = "", SystemPrompt.parse(self.data.system, self.source.columns)
        if self.data.user_template is not None or self.data.assistant_template is not None:
            how = " (by templates)"
        if user is None or assistant is None:
            if self.pair is None:
                raise unknown_columns(self.source)
            user, assistant, how = self.pair.user, self.pair.assistant, " (by their names)"
            system = system if self.data.system is not None else self.pair.system
        title = f"columns {user.title} → {assistant.title}{how}{system.title}"
        return ColumnsShape(title, "supervised", self.split, system, user, assistant)

    def conversations(self) -> ConversationsShape:
        """Ready conversations."""
        column = self.conversation_column
        if column is None:
            if self.source.columns:
                raise no_column(self.source.name, MESSAGES, self.source.columns)
            column = MESSAGES
        is_sharegpt = self._is_foreign(column)
        file = self.source.files[0]
        keeps = column == MESSAGES and file.format in _OBJECTS and not file.reading
        beside = [key for key in SETTINGS if key in self.source.columns]
        system = self._system()
        where = f"of {file.reading}" if file.reading else f"in {column}"
        kind = " (ShareGPT)" if self._some_message(column, is_sharegpt_message) else ""
        title = f"conversations {where}{kind}{f', with {listed(beside)}' if beside else ''}{system.title}"
        return ConversationsShape(title, "supervised", self.split, system, column, keeps, is_sharegpt)

    def completions(self) -> CompletionsShape:
        """Prompt and completion."""
        if self.data.user_template is not None or self.data.assistant_template is not None:
            self._refuse_templates()
        self._named_texts()
        prompt, completion = (
            named or find_column(self.source.columns, usual) or usual
            for named, usual in ((self.data.user_column, "prompt"), (self.data.assistant_column, "completion"))
        )
        endings, system = find_endings(self.rows, prompt, completion), self._system()
        title = f"{prompt} and {completion}{endings.title}{system.title}"
        return CompletionsShape(title, "supervised", self.split, system, prompt, completion, endings)

    def preferences(self) -> PreferencesShape:
        """Preference pairs, in columns of the usual names."""
        if self.preference is None:
            raise self.lacks("dpo")
        system = self._system()
        title = f"preference pairs in {listed(self.preference.columns)}{system.title}"
        return PreferencesShape(title, "dpo", self.split, system, self.preference)

    def reinforcement(self) -> ReinforcementShape:
        """Items for a grader: from ready conversations, or from a column with what the user says."""
        prompt, answer = self._named_texts()
        column = self.conversation_column
        if prompt is None and column is None:
            name = self.pair.user if self.pair else find_prompt(self.source.columns)
            prompt = read_text_source(name, None, "") if isinstance(name, str) else name
            if prompt is None:
                raise self.lacks("reinforcement")
        is_sharegpt = prompt is None and column is not None and self._is_foreign(column)
        system = self._system()
        shape = ReinforcementShape(
            "", "reinforcement", self.split, system, prompt, column or MESSAGES, answer, is_sharegpt
        )
        fields = shape.field_names(self.source.columns)
        says = prompt.title if prompt is not None else column
        with_fields = f", item fields {listed(fields)}" if fields else ""
        shape.title = f"reinforcement items from {says}{with_fields}{system.title}"
        return shape

    def are_items(self) -> bool:
        """Whether most conversations end without an answer, and something for a grader stands beside them."""
        column = self.conversation_column
        beside = set(self.source.columns) - {column, *EXAMPLE_KEYS, *self.split.names}
        if column is None or not beside or self.source.files[0].reading:
            return False
        ends = [
            bool(messages) and last_assistant(messages) == len(messages) - 1 for messages in self._conversations(column)
        ]
        return sum(ends) * 2 < len(ends)

    def lacks(self, method: str) -> SourceError:
        """The error for a source that has nothing of what a method trains on."""
        return SourceError(
            f"{self.source.name} has the columns: {listed(self.source.columns)}. The method {method} needs "
            f"{NEEDS[method]}."
        )

    def _system(self) -> SystemPrompt:
        return SystemPrompt.parse(self.data.system, self.source.columns)

    def _named_texts(self) -> tuple[TextSource | None, TextSource | None]:
        data = self.data
        if data.user_column is not None and data.user_column == data.assistant_column:
            raise SourceError(
                f'The column "{data.user_column}" is named for what the user says and for the answer.',
                hint="Name two columns: the model would learn to repeat what it is told.",
            )
        return (
            read_text_source(data.user_column, data.user_template, "user_template"),
            read_text_source(data.assistant_column, data.assistant_template, "assistant_template"),
        )

    def _conversations(self, column: str) -> Iterator[list[dict[str, Any]]]:
        """The conversations among the first rows, ShareGPT's as the API's."""
        for values in self.rows:
            try:
                _, found = read_conversation(values, column, is_sharegpt=True)
            except UnusableCellError:
                continue
            if isinstance(found, list) and all(isinstance(message, dict) for message in found):
                yield found

    def _is_foreign(self, column: str) -> bool:
        """Whether messages are written in another way than the API's."""
        return self._some_message(column, is_foreign_message)

    def _some_message(self, column: str, are: Callable[[Any], bool]) -> bool:
        for values in self.rows:
            try:
                _, found = read_conversation(values, column, is_sharegpt=False)
            except UnusableCellError:
                continue
            if isinstance(found, list) and any(map(are, found)):
                return True
        return False

    def _refuse_templates(self) -> Never:
        raise SourceError(
            "Templates are for the shape columns, not for completion.",
            hint="Name the columns with --user-column and --assistant-column, or leave the shape out.",
        )
