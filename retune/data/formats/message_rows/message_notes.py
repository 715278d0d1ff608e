"""What is said of a table with one message a row: how it is read, what was assumed, and what was left out."""

from collections.abc import Iterator

from retune.choices import ConversationStart
from retune.data.formats.message_rows.message_columns import MessageColumns
from retune.data.formats.message_rows.message_joining import Joiner
from retune.data.formats.message_rows.message_order import Direction
from retune.data.sources.blocks import FileNote, Finding, SourceFile, describe_location
from retune.message_rows_config import MessageRowsConfig


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
    restart = f"if {columns.conversation} starts anew in every file, put the file's name before its values"
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
