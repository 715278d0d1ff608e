"""Tables with one message a row, read as tables with one conversation a row."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count

from retune.choices import ConversationStart
from retune.config import DataConfig, ExampleShape
from retune.data.formats.cells import UnusableCellError, cell_text, parsed_cell
from retune.data.formats.column_names import MESSAGES, check_columns, field_value
from retune.data.formats.message_rows.chat_exports import TreesSource, find_tree_format
from retune.data.formats.message_rows.message_columns import (
    EVENT,
    THREAD,
    MessageColumns,
    find_message_columns,
    is_event,
    is_plain_kind,
)
from retune.data.formats.message_rows.message_joining import Joined, Joiner, describe_columns, notes_of
from retune.data.formats.message_rows.message_order import Direction, plain_number
from retune.data.formats.message_rows.message_spill import Message, in_order
from retune.data.formats.role_names import plain_name
from retune.data.problems.problems import FileNote, Finding
from retune.data.sources.blocks import BLOCK_BYTES, MOST_BLOCK_ROWS, Block, Row, RowsBlock, Source, UnreadFile
from retune.errors import EmptySourceError, SourceError
from retune.training_lines.keys import JsonMapping, JsonObject

# Keys of a message beside its role and content, where a column bears their name.
_KEYS = ("tool_calls", "tool_call_id", "function_call", "refusal")
# Open Assistant's judgement of answers to the same message.
_RANK = "rank"
_MEGABYTE = 1_000_000


def put_together(source: Source, data: DataConfig) -> Source:
    """Read a table with one message a row, or an export with trees of them, as conversations; else leave it as it is.

    Args:
        source: The source, opened.
        data: What the user named.

    Raises:
        SourceError: What the user named doesn't fit, or nothing says which messages are the assistant's.
    """
    names_another = (
        data.user_column is not None
        or data.user_template is not None
        or data.messages_column != MESSAGES
        or data.shape not in (ExampleShape.AUTO, ExampleShape.MESSAGES)
    )
    if not names_another:
        rows = [row.values for row in source.sample() if not row.findings]
        form = None if data.message_rows.names_columns else find_tree_format(source.columns, rows)
        if form is not None:
            return TreesSource(source, form)
        columns = find_message_columns(source, rows, data.message_rows)
        return source if columns is None else MessageRowsSource(source, columns, data)
    if data.message_rows.names_columns:
        raise SourceError(
            "--role-column, --text-column, --conversation-column and --assistant-role are for a table with one message "
            "a row; flags for another shape are there too (--user-column, --messages-column or --shape).",
            hint="Leave out one or the other.",
        )
    return source


class MessageRowsSource(Source):
    """The conversations of a table with one message a row.

    All rows are read before the first conversation is given, as rows of one may stand anywhere; they wait on disk.

    Args:
        source: The table.
        columns: What its columns hold.
        data: Where a conversation ends, and how large it may be.
    """

    def __init__(self, source: Source, columns: MessageColumns, data: DataConfig) -> None:
        check_columns(source, columns.names, {})
        self.name = source.name
        self._source = source
        self._columns = columns
        self._data = data
        self._used = {*columns.names, EVENT, *_KEYS, *([_RANK] if columns.parent else [])} - {columns.conversation}
        self.files = [
            replace(
                file,
                columns=(MESSAGES, *(name for name in file.columns if name not in self._used)) if file.columns else (),
                reading=describe_columns(columns, data.message_rows),
            )
            for file in source.files
        ]
        self._n_bytes = self._text_bytes = 0
        self._direction = Direction()
        messages = (self._message(0, row, place) for place, row in enumerate(source.sample()))
        self._sample = [joined.row for joined in self._new_joiner().conversations(self._in_order(messages))]
        self._joiner = self._new_joiner()

    def _new_joiner(self) -> Joiner:
        return Joiner(
            self._columns,
            pause_seconds=60 * self._data.message_rows.pause_minutes,
            most_bytes=self._data.limits.max_row_mb * _MEGABYTE,
        )

    def sample(self) -> list[Row]:
        """The conversations of the first rows; the last of them may be cut."""
        return list(self._sample)

    @property
    def grouped_by(self) -> tuple[str, ...]:
        """See `Source.grouped_by`."""
        # A room holds many conversations: what is said there later is another one.
        is_whole = self._columns.start is ConversationStart.WHOLE
        return (self._columns.conversation,) if is_whole and self._columns.conversation is not None else ()

    def blocks(self) -> Iterator[Block]:
        """Read everything, once; see `Source`."""
        self._joiner = self._new_joiner()
        self._direction = Direction()
        self._n_bytes = self._text_bytes = 0
        yield from self._blocks(self._joiner.conversations(self._in_order(self._messages())))
        if not self._joiner.n_given:
            raise EmptySourceError(
                f"None of the conversations in {self.name} has a message of the assistant's.",
                hint=f"Say what {self._columns.speakers.column} says where the assistant speaks: --assistant-role.",
            )

    def notes(self) -> list[FileNote]:
        """See `Source.notes`; and what was assumed, joined and left out."""
        return [*self._source.notes(), *notes_of(self._columns, self._joiner, self._direction, self.files)]

    def unread(self) -> list[UnreadFile]:
        """See `Source.unread`."""
        return self._source.unread()

    def _in_order(self, messages: Iterable[Message]) -> Iterator[Message]:
        columns = self._columns
        return in_order(
            messages, self._direction, by_parents=columns.parent is not None and columns.conversation is None
        )

    def _messages(self) -> Iterator[Message]:
        place = count()
        for block in self._source.blocks():
            self._n_bytes += block.source_bytes
            for row in block.rows():
                message = self._message(block.file, row, next(place))
                self._text_bytes += _size(message)
                yield message

    def _message(self, file: int, row: Row, place: int) -> Message:
        """The row as a message; one that can't be read is a conversation by itself, which says so."""
        alone = f"\0{place}"
        if row.findings:
            return Message(alone, None, file, row.number, findings=row.findings)
        columns = self._columns
        try:
            conversation = f"\1{file}"
            if columns.conversation is not None:
                said = cell_text(row.values.get(columns.conversation), columns.conversation)
                if (said is None or not said.strip()) and plain_name(columns.conversation) == THREAD:
                    said = alone
                if said is None or not said.strip():
                    finding = Finding("other_shape", f"column {columns.conversation}: expected a value, found nothing.")
                    return Message(alone, None, file, row.number, findings=(finding,))
                # Files of different splits number their conversations anew.
                conversation = f"{self.files[file].split or ''}\1{said}"
            speaker = cell_text(field_value(row.values, columns.speakers.column), columns.speakers.column)
            body = self._body(row.values)
        except UnusableCellError as error:
            return Message(alone, None, file, row.number, findings=(error.finding,))
        order = columns.order
        where = None if order is None else order.place(row.values.get(order.column))
        beside = {name: value for name, value in row.values.items() if name not in self._used}
        name, parent = (plain_number(row.values.get(column)) for column in columns.parent or ("", ""))
        rank = row.values.get(_RANK)
        rank = float(rank) if isinstance(rank, int | float) and not isinstance(rank, bool) else None
        remarks = [finding._replace(message=f"row {row.number}: {finding.message}") for finding in row.remarks if body]
        return Message(conversation, where, file, row.number, speaker, body, beside, tuple(remarks), name, parent, rank)

    def _body(self, values: JsonMapping) -> JsonObject | None:
        columns = self._columns
        if is_event(values) or (columns.kind is not None and not is_plain_kind(values.get(columns.kind))):
            return None
        content = values.get(columns.text)
        if isinstance(content, list) and any(isinstance(part, str) for part in content):
            # Telegram's texts with links in them.
            content = "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in content)
        if not isinstance(content, list):
            content = cell_text(content, columns.text)
        others = {key: _parsed(values[key], key) for key in _KEYS if values.get(key) not in (None, "", [])}
        has_text = bool(content.strip()) if isinstance(content, str) else bool(content)
        if has_text:
            return {"content": content, **others}
        return {"content": None, **others} if others else None

    def _blocks(self, joined: Iterable[Joined]) -> Iterator[Block]:
        held: list[Row] = []
        file = size = 0
        for item in joined:
            if held and (item.file != file or size >= BLOCK_BYTES or len(held) == MOST_BLOCK_ROWS):
                yield self._block(file, held, size)
                held, size = [], 0
            file = item.file
            held.append(item.row)
            size += item.size
        if held:
            yield self._block(file, held, size)

    def _block(self, file: int, rows: list[Row], size: int) -> Block:
        share = size / self._text_bytes if self._text_bytes else 0.0
        return RowsBlock(file, rows, source_bytes=int(share * self._n_bytes))


def _parsed(value: object, key: str) -> object:
    is_text = key in ("tool_call_id", "refusal") or not isinstance(value, str | bytes)
    return value if is_text else parsed_cell(value, key, kind="bad_tool_call", expected="JSON")


def _size(message: Message) -> int:
    content = (message.body or {}).get("content")
    return len(content) if isinstance(content, str) else 0
