"""Builds each format from the columns that the user named, and from usual names where none is named."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Never, TypeVar

from retune.config import DataConfig
from retune.data.example.example import last_assistant
from retune.data.formats.cell_kinds import read_cells
from retune.data.formats.column_names import MESSAGES, check_fields, find_column, listed_columns, near_key, no_column
from retune.data.formats.conversation_cells import conversations_in, hold_conversations, some_message, written_title
from retune.data.formats.foreign_messages import is_foreign_message
from retune.data.formats.known_columns import (
    CONVERSATIONS,
    PROVENANCE,
    Pair,
    Preference,
    find_history,
    find_plain_answers,
    find_plain_questions,
    find_preference,
    find_prompt,
    find_system,
    guess_pair,
)
from retune.data.formats.likely_columns import unknown_columns
from retune.data.formats.logs import LogFormat, find_log, hold_answers, hold_requests
from retune.data.formats.messages import MessagesFormat
from retune.data.formats.numbered_turns import NumberedTurnsFormat, Turns
from retune.data.formats.preference import PreferenceFormat
from retune.data.formats.prompt_answer import PromptAnswerFormat
from retune.data.formats.prompt_completion import PromptCompletionFormat, find_endings
from retune.data.formats.reinforcement import ReinforcementFormat
from retune.data.formats.row_format import ColumnFormat
from retune.data.formats.settings import SETTINGS, find_settings
from retune.data.formats.split_columns import SplitColumns
from retune.data.formats.templates import ColumnText, SystemPrompt, TextSource, read_text_source
from retune.data.formats.transcripts import find_open_template, without_marks
from retune.data.formats.turns import find_turns
from retune.data.problems.problems import Finding
from retune.data.sources.blocks import Source
from retune.errors import SourceError
from retune.training_lines.keys import EXAMPLE_KEYS, JsonMapping

_Format = TypeVar("_Format", bound=ColumnFormat)

NEEDS = {
    "supervised": f'a question and its answer, or conversations in a column "{MESSAGES}"',
    "dpo": "a conversation with two answers: the columns input, preferred_output and non_preferred_output, or prompt, "
    "chosen and rejected",
    "reinforcement": f'a conversation without its answer in a column "{MESSAGES}", or a column with what the user '
    "says; and whatever the grader compares with in other columns",
}
"""What each method trains on, for people."""

_MOST_LOOKED_AT = 100
# Beside messages these are a grader's.
_COMPARED = ("ideal", "expected_output")


@dataclass(frozen=True)
class FormatBuilder:
    """Builds formats for one source.

    Attributes:
        source: The source, opened.
        data: What the user named.
        split: Columns that the split goes by.
        rows: The first rows that could be read.
    """

    source: Source
    data: DataConfig
    split: SplitColumns
    rows: Sequence[JsonMapping]

    @property
    def flags(self) -> dict[str, str]:
        """Of each column that the user named by itself, the flag that names it."""
        named = {
            self.data.user_column: "--user-column",
            self.data.assistant_column: "--assistant-column",
            self.data.messages_column if self.data.messages_column != MESSAGES else None: "--messages-column",
            self.split.group: "--split-column",
            None if self.split.is_found else self.split.declared_split: "--split-column",
        }
        return {column: flag for column, flag in named.items() if column is not None}

    @property
    def names_columns(self) -> bool:
        """Whether the user named columns, or templates, for what the user says and for the answer."""
        return self.data.user_column is not None or self.data.user_template is not None

    @cached_property
    def pair(self) -> Pair | None:
        """Question and answer by their names; a column that the split goes by is neither."""
        pair, wider = guess_pair(self._first), guess_pair(self._free)
        if pair is None or wider is None or wider.assistant != pair.assistant:
            return pair
        # What an instruction is about may come up in later rows alone.
        return wider if wider.user.columns[:1] == pair.user.columns else pair

    @cached_property
    def preference(self) -> Preference | None:
        """The columns of a preference pair; without a prompt, only if the answers are whole conversations."""
        found = find_preference(self.source.columns)
        if found is None or found.prompt is not None:
            return found
        return found if any(len(messages) > 1 for messages in conversations_in(self.rows, found.preferred)) else None

    @cached_property
    def conversation_column(self) -> str | None:
        """The column that the user named, or one whose name and cells say that they are conversations."""
        if self.data.messages_column != MESSAGES or MESSAGES in self.source.columns:
            return self.data.messages_column
        found = (find_column(self.source.columns, name) for name in CONVERSATIONS)
        return next((name for name in found if name is not None and any(conversations_in(self.rows, name))), None)

    @cached_property
    def any_conversations(self) -> str | None:
        """The only column of whatever name all of whose filled cells are conversations of two messages and more."""
        earlier = find_history(self._first)
        columns = [column for column in self._first[:_MOST_LOOKED_AT] if column not in earlier]
        found = [column for column in columns if hold_conversations(self.rows, column)]
        return found[0] if len(found) == 1 else None

    @cached_property
    def log(self) -> tuple[str, str] | None:
        """The columns of logged requests and of their answers; None where there are none."""
        request, answer = find_log(self.rows, self._first)
        if request is not None and answer is None:
            # Of conversations without their answers: a grader's items have other names for what they compare with.
            names = find_plain_answers(self._first)
            answer = next((name for name in names if request != MESSAGES or name.lower() not in _COMPARED), None)
        if answer is not None and request is None:
            request = next(iter(find_plain_questions(self._first)), None)
        return None if request is None or answer is None else (request, answer)

    @cached_property
    def history(self) -> str | None:
        """The column whose name and cells say that they are earlier turns."""
        return find_turns(self.rows, find_history(self._free))

    @property
    def _free(self) -> list[str]:
        """The columns of all files, and late keys, that the split does not go by."""
        return [column for column in self.source.all_columns if column not in self.split.names]

    @property
    def _first(self) -> list[str]:
        """Those of the first file."""
        return [column for column in self.source.columns if column not in self.split.names]

    def columns(self) -> PromptAnswerFormat | LogFormat:
        """Question and answer from columns or templates, or a logged call that stands in two columns."""
        user, assistant = self._named_texts()
        how = ""
        if self.data.user_template is not None or self.data.assistant_template is not None:
            how = " (by templates)"
        if user is None or assistant is None:
            if self.pair is None:
                raise unknown_columns(self.source, self.rows)
            user, assistant, how = self.pair.user, self.pair.assistant, " (by their names)"
        if isinstance(user, ColumnText) and isinstance(assistant, ColumnText):
            is_request = hold_requests(self.rows, user.column)
            if is_request or hold_answers(self.rows, assistant.column, to_requests=False):
                return self.logs(user.column, assistant.column)
        user_cells, answers = read_cells(user, self.rows), read_cells(assistant, self.rows, asked=user)
        settings = find_settings(self._free, self.rows)
        template = find_open_template(self.rows, user.column) if isinstance(user, ColumnText) else None
        row_format = PromptAnswerFormat(
            f"columns {user_cells.source.title} → {answers.source.title}{how}{without_marks(template)}",
            "supervised",
            self.split,
            self._system(user, assistant),
            user_cells.source,
            answers.source,
            template,
            settings=settings,
            remarks=(*user_cells.findings, *answers.findings),
        )
        return self._framed(row_format, is_columns=True)

    def logs(self, request: str, answer: str) -> LogFormat:
        """Logged calls: what was asked in one column, what came back in another."""
        is_request = hold_requests(self.rows, request)
        text: TextSource | None = None
        remarks: tuple[Finding, ...] = ()
        if not hold_answers(self.rows, answer, to_requests=is_request):
            text, remarks = read_cells(ColumnText(answer), self.rows, asked=ColumnText(request))
        title = f"logged calls, {request} → {answer if text is None else text.title}"
        settings = find_settings(self._free, self.rows)
        row_format = LogFormat(
            *(title, "supervised", self.split, self._system(is_request=True), request, answer, text),
            settings=settings,
            remarks=remarks,
        )
        return self._framed(row_format)

    def conversations(self) -> MessagesFormat:
        """Ready conversations."""
        column = self.conversation_column or self.any_conversations
        if column is None:
            if self.source.columns:
                raise no_column(self.source.name, MESSAGES, self.source.columns)
            column = MESSAGES
        beside = [key for key in SETTINGS if key in self.source.all_columns]
        reading = self.source.files[0].reading
        is_misspelt = not reading and column != MESSAGES and near_key(MESSAGES, [column]) is not None
        title = (
            f"conversations {f'of {reading}' if reading else f'in {column}'}"
            f"{written_title(self.rows, column)}"
            f"{f', which the API calls {MESSAGES}' if is_misspelt else ''}"
            f"{f', with {listed_columns(beside)}' if beside else ''}"
        )
        is_foreign = some_message(self.rows, column, is_foreign_message)
        row_format = MessagesFormat(
            title, "supervised", self.split, self._system(), column, is_foreign, settings=SETTINGS
        )
        return self._framed(row_format)

    def numbered_turns(self, turns: Turns) -> NumberedTurnsFormat:
        """Conversations in numbered columns."""
        title = f"turns in {listed_columns([column for turn in turns for column in turn])}"
        settings = find_settings(self._free, self.rows)
        row_format = NumberedTurnsFormat(title, "supervised", self.split, self._system(), turns, settings=settings)
        return self._framed(row_format, is_columns=True)

    def completions(self) -> PromptCompletionFormat | LogFormat:
        """Prompt and completion, or a logged call in columns of these names."""
        if self.data.user_template is not None or self.data.assistant_template is not None:
            self._refuse_templates()
        self._named_texts()
        prompt, completion = (
            named or find_column(self.source.columns, usual) or usual
            for named, usual in ((self.data.user_column, "prompt"), (self.data.assistant_column, "completion"))
        )
        endings, settings = find_endings(self.rows, prompt, completion), find_settings(self._free, self.rows)
        template = find_open_template(self.rows, prompt)
        endings = endings if template is None else replace(endings, separator="")
        title = f"{prompt} and {completion}{without_marks(template)}{endings.title}"
        row_format = PromptCompletionFormat(
            title, "supervised", self.split, self._system(), prompt, completion, endings, template, settings=settings
        )
        return self._framed(row_format, is_columns=True)

    def preferences(self) -> PreferenceFormat:
        """Preference pairs, in columns of the usual names."""
        if self.preference is None:
            raise self.lacks("dpo")
        about = f", {self.preference.about}" if self.preference.about else ""
        title = f"preference pairs in {listed_columns(self.preference.columns)}{about}"
        template = None if self.preference.prompt is None else find_open_template(self.rows, self.preference.prompt)
        has_transcripts = self.preference.prompt is None
        title += written_title(self.rows, self.preference.preferred) if has_transcripts else without_marks(template)
        row_format = PreferenceFormat(
            *(title, "dpo", self.split, self._system(), self.preference, has_transcripts, template), settings=SETTINGS
        )
        return self._framed(row_format)

    def reinforcement(self) -> ReinforcementFormat:
        """Items for a grader: from ready conversations, or from a column with what the user says."""
        prompt, answer = self._named_texts()
        column = self.conversation_column
        if prompt is None and column is None:
            prompt = self.pair.user if self.pair else find_prompt(self.source.columns)
            if prompt is None:
                raise self.lacks("reinforcement")
        if isinstance(prompt, ColumnText) and hold_requests(self.rows, prompt.column):
            column, prompt = prompt.column, None
        row_format = ReinforcementFormat(
            "",
            "reinforcement",
            self.split,
            self._system(),
            prompt,
            column or MESSAGES,
            answer,
            history=self.history,
            settings=SETTINGS,
        )
        fields = row_format.field_names(self.source.columns)
        says = prompt.title if prompt is not None else column
        with_fields = f", item fields {listed_columns(fields)}" if fields else ""
        row_format.title = f"reinforcement items from {says}{with_fields}"
        return self._framed(row_format)

    def are_items(self) -> bool:
        """Whether most conversations end without an answer, and something for a grader stands beside them.

        One that holds answers and ends with a user's thanks is not an item where only an id stands beside it.
        """
        column = self.conversation_column
        beside = set(self.source.columns) - {column, *EXAMPLE_KEYS, *self.split.names}
        if column is None or not beside or self.source.files[0].reading:
            return False
        lasts = [(last_assistant(messages), len(messages) - 1) for messages in conversations_in(self.rows, column)]
        if beside <= PROVENANCE:
            return sum(last is not None for last, _ in lasts) * 2 < len(lasts)
        return sum(last is not None and last == end for last, end in lasts) * 2 < len(lasts)

    def lacks(self, method: str) -> SourceError:
        """The error for a source that has nothing of what a method trains on."""
        return SourceError(
            f"{self.source.name} has the columns: {listed_columns(self.source.columns)}. The method {method} needs "
            f"{NEEDS[method]}."
        )

    def _system(self, *texts: TextSource, is_request: bool = False) -> SystemPrompt:
        """What the user said, else the column of the usual name, unless a text is made of it."""
        found = find_system(self._free, is_request=is_request)
        if self.data.system is None and found is not None and found not in {c for text in texts for c in text.columns}:
            return SystemPrompt.in_column(found)
        system = SystemPrompt.parse(self.data.system, self.source.all_columns)
        check_fields(self.rows, system.columns, self.source.all_columns)
        return system

    def _framed(self, row_format: _Format, *, is_columns: bool = False) -> _Format:
        """The format with its earlier turns, and a title that names them, the system prompt and the tools."""
        if self.history is not None and self.history not in row_format.columns:
            row_format.history = self.history
        tools = f", with {listed_columns(row_format.settings)}" if is_columns and row_format.settings else ""
        turns = f", earlier turns from {row_format.history}" if row_format.history else ""
        row_format.title = f"{row_format.title}{row_format.system.title}{turns}{tools}"
        return row_format

    def _named_texts(self) -> tuple[TextSource | None, TextSource | None]:
        data = self.data
        if data.user_column is not None and data.user_column == data.assistant_column:
            raise SourceError(
                f'The column "{data.user_column}" is named for what the user says and for the answer.',
                hint="Name two columns: the model would learn to repeat what it is told.",
            )
        columns = self.source.all_columns
        texts = (
            read_text_source(data.user_column, data.user_template, "user_template", columns),
            read_text_source(data.assistant_column, data.assistant_template, "assistant_template", columns),
        )
        check_fields(self.rows, [name for text in texts if text for name in text.columns], columns)
        return texts

    def _refuse_templates(self) -> Never:
        raise SourceError(
            "Templates are for the shape columns, not for completion.",
            hint="Name the columns with --user-column and --assistant-column, or leave the shape out.",
        )
