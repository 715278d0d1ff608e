from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rows_source import MakeSource, ReadRows

from retune.config import DataConfig, SourceFormat
from retune.data.formats.message_rows.source import put_together
from retune.data.problems.problems import Finding
from retune.data.sources.blocks import Row, Source
from retune.errors import SourceError
from retune.message_rows_config import MessageRowsConfig

START = datetime(2026, 2, 3, 9, tzinfo=UTC)
ROLES = ("user", "assistant")


def turns(*texts: str, first: int = 0, **columns: Any) -> list[Any]:
    """Rows in which user and assistant take turns."""
    return [{**columns, "role": ROLES[(place + first) % 2], "content": text} for place, text in enumerate(texts)]


def said(row: Row) -> list[str]:
    return [f"{message['role'][0]}:{message['content']}" for message in row.values["messages"]]


def found(source: Source) -> dict[str, str]:
    return {note.finding.kind: note.finding.message for note in source.notes()}


def test_rows_of_one_conversation_may_stand_anywhere(read_rows: ReadRows) -> None:
    one, two = turns("a", "b", "c", "d", conversation_id="x"), turns("e", "f", conversation_id="y")
    rows, source, title = read_rows([one[0], two[0], one[1]], [one[2], two[1], one[3]])
    assert [said(row) for row in rows] == [["u:a", "a:b", "u:c", "a:d"], ["u:e", "a:f"]]
    assert [row.number for row in rows] == [1, 2]
    assert found(source) == {
        "conversations_assumed": "2 conversations with rows in several files read as one each; if conversation_id "
        "restarts in every file, put the file's name before its values; the first: 1.csv, line 1."
    }
    assert title == (
        "conversations of one message a row: role from role, text from content, conversations by conversation_id"
    )


def test_rows_may_be_sorted_by_who_speaks(read_rows: ReadRows) -> None:
    asked = [{"chat_id": n, "role": "user", "text": f"{n}"} for n in range(120)]
    rows, _, _ = read_rows([*asked, *({**row, "role": "assistant"} for row in asked)])
    assert len(rows) == 120
    assert said(rows[7]) == ["u:7", "a:7"]


def test_other_columns_are_kept_where_they_say_one_thing(
    read_rows: ReadRows,
) -> None:
    rows, source, _ = read_rows(
        [
            {"thread_id": 1, "role": "customer", "text": "a", "topic": "bill", "mood": "bad", "sla": None},
            {"thread_id": 1, "role": "agent", "text": "b", "topic": "bill", "mood": "good", "sla": 4},
        ]
    )
    assert {**rows[0].values, "messages": None} == {
        "messages": None,
        "thread_id": 1,
        "topic": "bill",
        "mood": None,
        "sla": 4,
    }
    assert source.columns == ("messages", "thread_id", "topic", "mood", "sla")
    assert source.grouped_by == ("thread_id",)


def test_a_number_or_time_puts_them_in_order(read_rows: ReadRows) -> None:
    numbered = [{**row, "turn": str(20 - place)} for place, row in enumerate(turns("b", "a", first=1, chat_id=1))]
    assert said(read_rows(numbered)[0][0]) == ["u:a", "a:b"]
    times = ["Tue Feb 03 09:00:05 +0000 2026", "Tue Feb 03 08:59:00 +0000 2026"]
    timed = [{**row, "created_at": time} for row, time in zip(numbered, times, strict=True)]
    for row in timed:
        del row["turn"]
    assert said(read_rows(timed)[0][0]) == ["u:a", "a:b"]


def test_consecutive_rows_of_one_speaker_become_one_message(read_rows: ReadRows) -> None:
    rows, source, _ = read_rows(
        [{"ticket": 1, "sender": who, "body": text} for who, text in (("Client", "a"), ("client", "b"), ("Bot", "c"))]
    )
    assert said(rows[0]) == ["u:a\nb", "a:c"]
    assert found(source)["messages_joined"] == (
        "1 message put together with the one before, of the same speaker; the first: line 2."
    )


def test_conversations_without_answers_are_skipped_and_counted(read_rows: ReadRows) -> None:
    answered, open_ = turns("a", "b", "", " ", session_id="s"), turns("c", session_id="t")
    rows, source, _ = read_rows([*answered, *open_])
    assert [said(row) for row in rows] == [["u:a", "a:b"]]
    assert found(source) == {
        "messages_left_out": "2 messages without text left out; the first: line 3.",
        "conversations_left_out": "1 conversation without an answer left out; the first: line 5.",
    }


def test_rows_that_can_not_be_read_say_so_by_themselves(
    read_rows: ReadRows,
) -> None:
    odd = Finding("row_width", "too wide")
    rows, _, _ = read_rows([*turns("a", "b", dialog_id=1), odd, *turns("c", dialog_id="")])
    assert [[finding.kind for finding in row.findings] for row in rows] == [[], ["row_width"], ["other_shape"]]


def test_an_unknown_role_names_its_row(read_rows: ReadRows) -> None:
    rows = turns(*"abcdefghij", conv_id=1)
    rows[7]["role"] = "narrator"
    [row], _, _ = read_rows(rows)
    assert row.findings == (
        Finding("unknown_role", 'row 8, column role: "narrator" does not name the role of a speaker.'),
    )


def test_tool_calls_stay_with_their_message(read_rows: ReadRows) -> None:
    call = [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}]
    rows = [
        {"conversation_id": 1, "role": "user", "content": "a"},
        {"conversation_id": 1, "role": "assistant", "content": None, "tool_calls": call},
        {"conversation_id": 1, "role": "tool", "content": "b", "tool_call_id": "c1"},
        {"conversation_id": 1, "role": "assistant", "content": "c"},
    ]
    [row], _, _ = read_rows(rows, file_format="jsonl")
    assert [message.get("tool_calls") or message.get("tool_call_id") for message in row.values["messages"]] == [
        None,
        call,
        "c1",
        None,
    ]


def test_without_a_column_for_it_each_question_does_and_that_is_said(
    read_rows: ReadRows,
) -> None:
    rows, source, _ = read_rows([{"role": "system", "content": "s"}, *turns("a", "b", "c", "d")])
    assert [said(row) for row in rows] == [["s:s", "u:a", "a:b"], ["s:s", "u:c", "a:d"]]
    assert "no column says which conversation a row belongs to" in found(source)["conversations_assumed"]


def test_each_system_message_does_where_there_are_several(
    read_rows: ReadRows,
) -> None:
    system = {"role": "system", "content": "s"}
    rows, _, _ = read_rows([system, *turns("a", "b", "c", "d"), system, *turns("e", "f")])
    assert [said(row) for row in rows] == [["s:s", "u:a", "a:b", "u:c", "a:d"], ["s:s", "u:e", "a:f"]]


def test_long_pauses_do_and_a_late_answer_still_answers(
    read_rows: ReadRows,
) -> None:
    rows = []
    for day in range(12):
        for place, row in enumerate(turns("a", "b", "c", "d")):
            late = timedelta(hours=2) if place == 3 else timedelta()
            rows.append({**row, "time": START + timedelta(days=day, minutes=place) + late})
    read, _, title = read_rows(rows)
    assert len(read) == 12
    assert said(read[-1]) == ["u:a", "a:b", "u:c", "a:d"]
    assert title.endswith("in order of time, a new one after 30 minutes without a message")
    assert len(read_rows(rows, pause_minutes=3 * 60 * 24)[0]) == 24


def test_conversation_start_can_be_configured(read_rows: ReadRows) -> None:
    rows = turns(*"abcdef")
    assert [len(said(row)) for row in read_rows(rows, conversation_start="whole")[0]] == [6]
    with pytest.raises(SourceError, match="needs times"):
        read_rows(rows, conversation_start="pause")


def test_files_are_not_one_conversation(read_rows: ReadRows) -> None:
    rows, _, _ = read_rows(turns("a", "b"), turns("c", "d"), conversation_start="whole")
    assert [said(row) for row in rows] == [["u:a", "a:b"], ["u:c", "a:d"]]


def test_chat_room_column_is_not_a_conversation(read_rows: ReadRows) -> None:
    rows, source, _ = read_rows(
        [
            {"is_sender": flag, "room_name": room, "msg": text, "type_name": kind}
            for flag, room, text, kind in (
                ("0", "r", "a", "文本"),
                ("0", "q", "b", "文本"),
                ("1", "r", "c", "文本"),
                ("1", "r", "d.png", "图片"),
                ("0", "r", "e", "文本"),
                ("1", "r", "f", "文本"),
                ("1", "q", "g", "文本"),
            )
        ]
    )
    assert [said(row) for row in rows] == [["u:a", "a:c"], ["u:e", "a:f"], ["u:b", "a:g"]]
    assert set(found(source)) == {"conversations_assumed", "messages_left_out"}
    # All that was ever said in a room would go into one split.
    assert source.grouped_by == ()


def test_numbers_of_people_are_user_and_assistant_in_turn(
    read_rows: ReadRows,
) -> None:
    rows, source, _ = read_rows(
        [
            {"conv_id": c, "speaker_idx": s, "utterance": t, "prompt": "p"}
            for c, s, t in ((1, 7, "a"), (1, 9, "b"), (2, 9, "c"), (2, 4, "d"))
        ]
    )
    assert [said(row) for row in rows] == [["u:a", "a:b"], ["u:c", "a:d"]]
    assert "speaker_idx doesn't say who is the assistant" in found(source)["conversations_assumed"]


@pytest.mark.parametrize(("column", "user"), [("inbound", "True"), ("from_me", "0"), ("isBot", "false")])
def test_flags_say_it_by_their_names(read_rows: ReadRows, column: str, user: str) -> None:
    other = {"True": "False", "0": "1", "false": "true"}[user]
    rows, _, _ = read_rows([{"chat": 1, column: user, "text": "a"}, {"chat": 1, column: other, "text": "b"}])
    assert said(rows[0]) == ["u:a", "a:b"]


def test_names_are_asked_for_and_the_advice_works(read_rows: ReadRows) -> None:
    rows = [{"ticket_id": n // 3, "author": who, "body": f"{n}"} for n, who in enumerate(["Zoe", "Ann", "Bo"] * 4)]
    with pytest.raises(SourceError, match="Which of those who speak is the assistant") as caught:
        read_rows(rows)
    assert 'author says: "Zoe", "Ann", "Bo"' in caught.value.message
    assert "--assistant-role" in (caught.value.hint or "")
    assert said(read_rows(rows, assistant_role="ann, Bo")[0][0]) == ["u:0", "a:1\n2"]


def test_nobody_of_that_name_is_an_error(read_rows: ReadRows) -> None:
    with pytest.raises(SourceError, match="None of the conversations in data has a message of the assistant's"):
        read_rows(turns("a", "b", ticket_id=1), assistant_role="Nobody")


def test_columns_of_any_name_can_be_named(read_rows: ReadRows) -> None:
    rows = [{"k": 1, "w": who, "t": text, "n": n} for who, text, n in (("me", "b", 2), ("you", "a", 1))]
    read, _, _ = read_rows(
        rows, conversation_column="k", role_column="w", text_column="t", time_column="n", assistant_role="me"
    )
    assert said(read[0]) == ["u:a", "a:b"]


def test_one_branch_is_used_and_the_others_are_counted(read_rows: ReadRows) -> None:
    rows = [
        {"message_id": i, "parent_id": p, "message_tree_id": "t", "role": r, "text": i, "rank": rank}
        for i, p, r, rank in (
            ("a", None, "prompter", None),
            ("b", "a", "assistant", 1),
            ("c", "a", "assistant", 0),
            ("d", "c", "prompter", None),
            ("e", "d", "assistant", 0),
            ("f", "b", "prompter", 0),
        )
    ]
    [row], source, _ = read_rows(rows, file_format="jsonl")
    assert said(row) == ["u:a", "a:c", "u:d", "a:e"]
    assert found(source) == {"branches_left_out": "2 messages of other branches left out; the first: line 2."}


def test_reply_ids_assign_messages_to_conversations(read_rows: ReadRows) -> None:
    rows = [
        {"tweet_id": i, "in_response_to_tweet_id": p, "inbound": who, "text": f"{i}"}
        for i, p, who in ((4, "2.0", False), (1, "", True), (2, "", True), (3, "1.0", False), (5, "3.0", True))
    ]
    read, source, _ = read_rows(rows)
    assert [said(row) for row in read] == [["u:2", "a:4"], ["u:1", "a:3", "u:5"]]
    assert found(source) == {}


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q", "answer": "a", "role": "user"},
        {"text": "t", "label": "user"},
        {"ticket_id": 1, "author": "Zoe", "body": "a", "category": "b"},
        {"role": "user", "text": "a", "score": 1},
        {"messages": [{"role": "user", "content": "a"}], "role": "user", "text": "a"},
        {"prompt": "p", "chosen": "c", "rejected": "r", "role": "user"},
    ],
)
def test_tables_with_an_example_a_row_stay_as_they_are(make_source: MakeSource, row: dict[str, Any]) -> None:
    rows = [{**row, **({"ticket_id": place} if "ticket_id" in row else {})} for place in range(3)]
    source = make_source(rows, file_format=SourceFormat.CSV)
    assert put_together(source, DataConfig(source="data")) is source


def test_flags_for_another_shape_exclude_those_for_messages(make_source: MakeSource) -> None:
    data = DataConfig(source="data", messages_column="turns", message_rows=MessageRowsConfig(role_column="who"))
    with pytest.raises(SourceError, match="--role-column"):
        put_together(make_source([{"turns": [], "who": "a"}]), data)
