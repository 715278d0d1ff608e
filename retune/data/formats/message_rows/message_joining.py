"""Joins messages into conversations, and reports how."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from retune.choices import ConversationStart
from retune.data.formats.column_names import MESSAGES
from retune.data.formats.message_rows.branches import Place, one_branch
from retune.data.formats.message_rows.message_columns import MessageColumns
from retune.data.formats.message_rows.message_order import Direction
from retune.data.formats.message_rows.message_spill import Message
from retune.data.problems.problems import FileNote, Finding
from retune.data.problems.rules import RULES
from retune.data.sources.blocks import Row, SourceFile, describe_location
from retune.errors import SourceError
from retune.message_rows_config import MessageRowsConfig
from retune.redaction.masking import shown
from retune.training_lines.keys import JsonObject

_MOST_FINDINGS = 3


class Joined(NamedTuple):
    """A conversation.

    Attributes:
        file: Index of the file in which it begins.
        row: It, as a row with a column `messages`; its number is the first message's.
        size: About how many bytes it has.
    """

    file: int
    row: Row
    size: int


@dataclass(slots=True)
class _Conversation:
    """A conversation as it grows."""

    file: int
    number: int
    messages: list[JsonObject] = field(default_factory=list)
    beside: JsonObject = field(default_factory=dict)
    differing: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    last_place: float | None = None
    size: int = 0
    is_spread: bool = False

    @property
    def has_answer(self) -> bool:
        return any(message["role"] == "assistant" for message in self.messages)

    @property
    def last_role(self) -> str | None:
        return self.messages[-1]["role"] if self.messages else None

    def note_beside(self, values: JsonObject) -> None:
        """Keep what is the same in all rows that say anything."""
        for name, value in values.items():
            if value in (None, ""):
                continue
            if self.beside.setdefault(name, value) != value:
                self.differing.add(name)

    def to_row(self) -> Row:
        beside = {name: None if name in self.differing else value for name, value in self.beside.items()}
        findings, remarks = ([f for f in self.findings if _is_error(f) == errors] for errors in (True, False))
        return Row(self.number, {MESSAGES: self.messages, **beside}, tuple(findings), tuple(remarks))


class Joiner:
    """Makes conversations of messages, and counts what it leaves out.

    Args:
        columns: What the columns hold, and where conversations end.
        pause_seconds: So much time without a message ends one, where pauses do.
        most_bytes: Refuse a larger one.

    Attributes:
        counts: `joined`: messages that were put into the one before, of the same speaker. `unanswered`: conversations
            without a message of the assistant's, which are left out. `empty`: messages without text, left out.
            `branched`: messages of other branches than the one that is used. `unplaced`: messages whose time or number
            can't be read. `spread`: conversations with messages in several files.
        first: File and row of the first of each.
    """

    def __init__(self, columns: MessageColumns, *, pause_seconds: float, most_bytes: int) -> None:
        self._columns = columns
        self._pause_seconds = pause_seconds
        self._most_bytes = most_bytes
        self.counts: Counter[str] = Counter()
        self.first: dict[str, tuple[int, int]] = {}
        self.n_given = 0

    def conversations(self, messages: Iterable[Message]) -> Iterator[Joined]:
        """All of them. One that has no answer is left out, as there is nothing to learn in it.

        Raises:
            SourceError: One is too large.
        """
        for _, group in groupby(messages, key=lambda message: message.conversation):
            for conversation in self._divide(group if self._columns.parent is None else self._branch(group)):
                if conversation.has_answer or any(map(_is_error, conversation.findings)):
                    self.n_given += 1
                    yield Joined(conversation.file, conversation.to_row(), conversation.size)
                elif conversation.messages:
                    self._count("unanswered", conversation.file, conversation.number)

    def _branch(self, messages: Iterable[Message]) -> list[Message]:
        """Of a tree of messages, one branch."""
        size, held = 0, list[Message]()
        for message in messages:
            held.append(message)
            size += len(repr(message.body))
            self._refuse_if_larger(size, held[0].number)
        speakers = self._columns.speakers
        branch = one_branch(held, lambda m: Place(m.id, m.parent, speakers.role(m.said, held[0].said), m.rank))
        if len(branch) < len(held):
            numbers = {message.number for message in branch}
            first = next(message for message in held if message.number not in numbers)
            self._count("branched", first.file, first.number, len(held) - len(branch))
        return branch

    def _divide(self, messages: Iterable[Message]) -> Iterator[_Conversation]:
        """The conversations of one value of the column, or of one file."""
        current: _Conversation | None = None
        instructions: list[JsonObject] = []
        first_said: str | None = None
        for message in messages:
            role = self._columns.speakers.role(message.said, first_said)
            if message.body is None and not message.findings:
                self._count("empty", message.file, message.number)
                continue
            if first_said is None and role in ("user", "assistant"):
                first_said = message.said
            if current is None or self._starts(current, role, message.place):
                if current is not None:
                    yield current
                    instructions = instructions or _leading_instructions(current.messages)
                current = _Conversation(message.file, message.number)
                if role != "system" and self._columns.start is not ConversationStart.SYSTEM:
                    current.messages += [dict(instruction) for instruction in instructions]
            self._add(current, message, role)
        if current is not None:
            yield current

    def _starts(self, current: _Conversation, role: str | None, place: float | None) -> bool:
        start = self._columns.start
        if start is ConversationStart.QUESTION:
            return role == "user" and current.last_role in ("assistant", "tool")
        if start is ConversationStart.SYSTEM:
            return role == "system" and current.last_role != "system"
        if start is ConversationStart.PAUSE and place is not None and current.last_place is not None:
            # A late answer still answers.
            is_answer = role == "assistant" and current.last_role == "user"
            return place - current.last_place > self._pause_seconds and not is_answer
        return False

    def _add(self, current: _Conversation, message: Message, role: str | None) -> None:
        if message.file != current.file and not current.is_spread:
            current.is_spread = True
            self._count("spread", message.file, message.number)
        # A conversation stands where its first row does, also where its times say otherwise.
        current.file, current.number = min((current.file, current.number), (message.file, message.number))
        current.last_place = message.place if message.place is not None else current.last_place
        current.note_beside(message.beside or {})
        findings = list(message.findings)
        if message.body is not None and role is None:
            column = self._columns.speakers.column
            found = "nothing" if message.said is None else shown(message.said)
            findings.append(
                Finding(
                    "unknown_role",
                    f"row {message.number}, column {column}: {found} does not name the role of a speaker.",
                )
            )
        current.findings += findings[: max(0, _MOST_FINDINGS - len(current.findings))]
        if message.body is not None:
            self._add_body(current, message, {"role": role or "user", **message.body})
        if self._columns.order is not None and message.place is None and message.body is not None:
            self._count("unplaced", message.file, message.number)

    def _add_body(self, current: _Conversation, message: Message, body: JsonObject) -> None:
        content = body.get("content")
        current.size += len(content) if isinstance(content, str) else len(repr(body))
        self._refuse_if_larger(current.size, current.number)
        last = current.messages[-1] if current.messages else None
        if last is not None and _can_be_joined(last, body):
            last["content"] = f"{last['content']}\n{content}"
            self._count("joined", message.file, message.number)
        else:
            current.messages.append(body)

    def _refuse_if_larger(self, size: int, number: int) -> None:
        if size > self._most_bytes:
            raise SourceError(
                f"The conversation that starts in row {number} has more than "
                f"{self._most_bytes // 1_000_000} MB of text.",
                hint="Name the column that identifies conversations (--conversation-column), or let them end earlier "
                "(--conversation-start question); --max-row-mb allows larger ones.",
            )

    def _count(self, kind: str, file: int, number: int, n: int = 1) -> None:
        self.counts[kind] += n
        self.first.setdefault(kind, (file, number))


def _is_error(finding: Finding) -> bool:
    return RULES[finding.kind].level == "error"


def _can_be_joined(last: JsonObject, body: JsonObject) -> bool:
    are_plain = last.keys() == body.keys() == {"role", "content"}
    return (
        are_plain
        and last["role"] == body["role"] != "tool"
        and isinstance(last["content"], str)
        and isinstance(body["content"], str)
    )


def _leading_instructions(messages: list[JsonObject]) -> list[JsonObject]:
    return messages[:1] if messages and messages[0]["role"] == "system" else []


def describe_columns(columns: MessageColumns, settings: MessageRowsConfig) -> str:
    """Which column holds what, in one line."""
    starts = {
        ConversationStart.WHOLE: "",
        ConversationStart.SYSTEM: ", a new one at each system message",
        ConversationStart.PAUSE: f", a new one after {settings.pause_minutes:g} minutes without a message",
        ConversationStart.QUESTION: ", a new one at each question after an answer",
    }
    where = f"by {columns.conversation}" if columns.conversation else "of the whole file"
    if columns.parent is not None:
        where = f"{where if columns.conversation else 'by what they answer'}, along {columns.parent[1]}"
    order = f", in order of {columns.order.column}" if columns.order else ""
    kind = f", where {columns.kind} says text" if columns.kind else ""
    return (
        f"one message a row: role from {columns.speakers.title}, text from {columns.text}{kind}, conversations "
        f"{where}{order}{starts[columns.start]}"
    )


def notes_of(
    columns: MessageColumns, joiner: Joiner, direction: Direction, files: list[SourceFile]
) -> Iterator[FileNote]:
    """What has to be known of what was read so far."""
    for assumed in columns.assumed:
        yield FileNote(0, Finding("conversations_assumed", f"{assumed}."))
    if columns.unread:
        yield FileNote(0, Finding("times_not_read", f"{columns.unread}: messages stay in the order of their rows."))
    order = columns.order.column if columns.order else ""
    if direction.n_ties and direction.is_newest_first:
        rows = "1 row has" if direction.n_ties == 1 else f"{direction.n_ties:,} rows have"
        says = f"{order} mostly falls from row to row, and {rows} the time of the row before"
        yield FileNote(0, Finding("ties_newest_first", f"{says}: of equal times the lower row is read first."))
    counts = joiner.counts
    restart = f"if {columns.conversation} restarts in every file, put the file's name before its values"
    messages = {
        "spread": (
            "conversations_assumed",
            f"{{n}} with rows in several files read as one each; {restart}",
            "conversation",
        ),
        "joined": ("messages_joined", "{n} put together with the one before, of the same speaker", "message"),
        "empty": ("messages_left_out", "{n} without text left out", "message"),
        "unanswered": ("conversations_left_out", "{n} without an answer left out", "conversation"),
        "branched": ("branches_left_out", "{n} of other branches left out", "message"),
        "unplaced": (
            "messages_unplaced",
            f"{{n}} with nothing in {order} that can be read as a time or number, put first",
            "message",
        ),
    }
    for kind, (rule, text, noun) in messages.items():
        if number := counts[kind]:
            counted = f"{number:,} {noun}{'' if number == 1 else 's'}"
            file, row = joiner.first[kind]
            yield FileNote(
                file, Finding(rule, f"{text.format(n=counted)}; the first: {describe_location(files, file, row)}.")
            )
