"""Sorts any number of messages into their conversations, with a database in an unnamed file."""

import pickle
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

from retune.data.formats.message_rows.message_order import Direction
from retune.data.problems.problems import Finding
from retune.errors import SourceError
from retune.training_lines.keys import JsonObject

_CACHE_KIB = 16_384
# With an index of its own: SQLite would look for the first of each among all.
_STARTS = """
CREATE TABLE start (conversation TEXT PRIMARY KEY, first INTEGER) WITHOUT ROWID;
INSERT INTO start SELECT conversation, min(number) FROM message GROUP BY conversation ORDER BY conversation;
"""
_IN_ORDER = """
SELECT message.conversation, message.content
FROM message CROSS JOIN start ON start.conversation = message.conversation
ORDER BY start.first, message.place, message.number * ?
"""
# From each first message to all that answer it; what answers itself, in a circle, stays a conversation of its own.
_TREES = """
WITH RECURSIVE tree (number, id, root) AS (
    SELECT number, id, number FROM message
    WHERE parent IS NULL OR NOT EXISTS (SELECT 1 FROM message AS other WHERE other.id = message.parent)
    UNION
    SELECT message.number, message.id, tree.root FROM message JOIN tree ON message.parent = tree.id
)
UPDATE message SET conversation = 'tree ' || tree.root FROM tree WHERE message.number = tree.number
"""


class Message(NamedTuple):
    """One row of a table with one message a row.

    Attributes:
        conversation: What its column says, as a text that is the same for equal values.
        place: What puts it in order within the conversation; None for where it stands.
        file: Index of its file.
        number: Its row.
        said: What the role's column says.
        body: The message without its role; None where it holds no text.
        beside: The other columns.
        findings: Why the row can't be read.
        id: What other messages call it, where they name the one that they answer.
        parent: The one that it answers; None for the first.
        rank: People's judgement among several answers, the best is the lowest.
    """

    conversation: str
    place: float | None
    file: int
    number: int
    said: Any = None
    body: JsonObject | None = None
    beside: JsonObject | None = None
    findings: tuple[Finding, ...] = ()
    id: str | None = None
    parent: str | None = None
    rank: float | None = None


def in_order(messages: Iterable[Message], direction: Direction, *, by_parents: bool = False) -> Iterator[Message]:
    """All messages, those of a conversation together: conversations in the order in which they begin in the source.

    Args:
        messages: In the order of the source.
        direction: All messages pass by it; where the newest come first, those of one time come from the last row on.
        by_parents: What a message answers tells its conversation, and nothing else does.

    Memory is some 20 MB; the rest is on disk, where SQLite puts temporary files, and nothing is left of it however the
    process ends.

    Raises:
        SourceError: There is no room on the disk.
    """
    try:
        # A database without a name is a file that has none either: the system removes it with the process.
        with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as database:
            for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
                database.execute(f"PRAGMA {setting}")
            database.execute(
                "CREATE TABLE message (number INTEGER PRIMARY KEY, conversation TEXT, place REAL, "
                "id TEXT, parent TEXT, content BLOB)"
            )
            database.execute("BEGIN")
            database.executemany(
                "INSERT INTO message (conversation, place, id, parent, content) VALUES (?, ?, ?, ?, ?)",
                (_spilled(message, direction) for message in messages),
            )
            if by_parents:
                database.execute("CREATE INDEX by_id ON message (id)")
                database.execute("CREATE INDEX by_parent ON message (parent)")
                database.execute(_TREES)
            for statement in _STARTS.split(";"):
                database.execute(statement)
            database.execute("COMMIT")
            ties = (-1 if direction.is_newest_first else 1,)
            for conversation, content in database.execute(_IN_ORDER, ties):
                # It was written a moment ago, by this process, into a file that no other can open.
                yield Message(*pickle.loads(content))._replace(conversation=conversation)  # noqa: S301
    except sqlite3.Error as error:
        raise SourceError(
            f"The messages can't be put in order on disk: {error}.",
            hint="Free some space where temporary files go, or name another place by TMPDIR.",
        ) from None


def _spilled(message: Message, direction: Direction) -> tuple[str, float | None, str | None, str | None, bytes]:
    direction.pass_by(message.conversation, message.place)
    return message.conversation, message.place, message.id, message.parent, pickle.dumps(tuple(message), -1)
