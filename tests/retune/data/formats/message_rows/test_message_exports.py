"""Conversations as Slack, help desks and chats export them: one message a row."""

from typing import Any

import pytest
from rows_source import ReadRows

from retune.data.sources.blocks import Row, Source
from retune.errors import SourceError


def said(row: Row) -> list[str]:
    return [f"{message['role'][0]}:{message['content']}" for message in row.values["messages"]]


def found(source: Source) -> dict[str, str]:
    return {note.finding.kind: note.finding.message for note in source.notes()}


def slack(user: str, text: str, at: int, **others: Any) -> dict[str, Any]:
    return {"type": "message", "user": user, "text": text, "ts": f"17000000{at:02}.0001", **others}


def test_slacks_threads_are_conversations_and_events_are_left_out(
    read_rows: ReadRows,
) -> None:
    rows, source, title = read_rows(
        [
            slack("U1", "<@U1> has joined the channel", 0, subtype="channel_join"),
            slack("U1", "a", 1, thread_ts="1"),
            slack("U2", "said to nobody", 2),
            slack("U2", "b", 3, thread_ts="1"),
        ],
        assistant_role="U2",
    )
    assert [said(row) for row in rows] == [["u:a", "a:b"], ["a:said to nobody"]]
    assert found(source)["messages_left_out"] == "1 message without text left out; the first: line 1."
    assert "conversations by thread_ts" in title


def test_bot_column_marks_the_assistants_messages(read_rows: ReadRows) -> None:
    asked = [slack("U1", f"q{n}", 2 * n, thread_ts=n) for n in range(3)]
    answered = [slack("U2", f"a{n}", 2 * n + 1, thread_ts=n, bot_id="B7") for n in range(3)]
    rows, _, title = read_rows([row for pair in zip(asked, answered, strict=True) for row in pair])
    assert [said(row) for row in rows] == [[f"u:q{n}", f"a:a{n}"] for n in range(3)]
    assert "role from bot_id (where it is filled: the assistant)" in title


def test_what_an_author_is_may_lie_in_an_object(read_rows: ReadRows) -> None:
    rows, _, title = read_rows(
        [
            {"id": "1", "timestamp": "2026-01-01 10:00", "content": "a", "author": {"name": "Ida", "isBot": False}},
            {"id": "2", "timestamp": "2026-01-01 10:01", "content": "b", "author": {"name": "Rob", "isBot": True}},
        ]
    )
    assert [said(row) for row in rows] == [["u:a", "a:b"]]
    assert "role from author.isBot (true: the assistant)" in title


def test_notes_of_help_desks_are_left_out(read_rows: ReadRows) -> None:
    kinds = ("conversation_message", "note", "comment")
    parts = [
        {"conversation_id": 1, "message_type": kind, "message_author_type": who, "message_body": kind}
        for kind, who in zip(kinds, ("user", "admin", "admin"), strict=True)
    ]
    rows, source, _ = read_rows(parts)
    assert [said(row) for row in rows] == [["u:conversation_message", "a:comment"]]
    assert "messages_left_out" in found(source)


def test_a_chat_of_a_few_people_is_asked_who_answers(read_rows: ReadRows) -> None:
    chat = [{"date": f"2026-01-0{n} 10:00", "author": ("Ida", "Shop")[n % 2], "message": f"m {n}"} for n in range(1, 8)]
    with pytest.raises(SourceError) as error:
        read_rows(chat)
    assert error.value.message == (
        "data has a message a row: author says who speaks, message what is said. Which of those who speak is the "
        'assistant? author says: "Shop", "Ida".'
    )
    rows, _, _ = read_rows(chat, assistant_role="Shop", conversation_start="whole")
    assert len(rows[0].values["messages"]) == 7


def test_parts_of_a_text_with_links_are_put_together(read_rows: ReadRows) -> None:
    parts = ["See ", {"type": "link", "text": "the map"}, "."]
    rows, _, _ = read_rows(
        [{"chat_id": 1, "role": "user", "text": "where?"}, {"chat_id": 1, "role": "assistant", "text": parts}]
    )
    assert [said(row) for row in rows] == [["u:where?", "a:See the map."]]
