"""Rows with one message each, whose times tell their order, or don't."""

from typing import Any

import pytest
from rows_source import ReadRows

from retune.data.sources.blocks import Row, Source
from retune.errors import SourceError


def said(row: Row) -> list[str]:
    return [f"{message['role'][0]}:{message['content']}" for message in row.values["messages"]]


def found(source: Source) -> dict[str, str]:
    return {note.finding.kind: note.finding.message for note in source.notes()}


def call(*lines: tuple[str, str, str], case: int = 1) -> list[dict[str, Any]]:
    """Rows of a case: who speaks, what, and when."""
    return [
        {"case_id": case, "speaker": {"u": "caller", "a": "agent"}[who], "text": text, "created": time}
        for who, text, time in lines
    ]


def test_newest_first_with_ambiguous_dates_is_refused(
    read_rows: ReadRows,
) -> None:
    rows = call(("a", "Off and on.", "04/02/2026 11:02"), ("u", "It is stuck.", "04/02/2026 11:01"))
    with pytest.raises(SourceError) as error:
        read_rows(rows)
    assert error.value.message == (
        'created holds "04/02/2026 11:02", which leaves open whether the day or the month comes first. The rows '
        "stand newest first by it, so that answers would be learned before their questions."
    )
    assert (error.value.hint or "").startswith("Say which: --day-first or --month-first;")
    for day_first in (True, False):
        conversations, source, title = read_rows(rows, day_first=day_first)
        assert [said(row) for row in conversations] == [["u:It is stuck.", "a:Off and on."]]
        assert found(source) == {}
        assert "in order of created" in title


def test_configured_day_first_decides_the_order(read_rows: ReadRows) -> None:
    rows = call(("u", "early", "02-03-2026"), ("a", "late", "03-02-2026"))
    assert said(read_rows(rows, day_first=False)[0][0]) == ["u:early", "a:late"]


def test_ambiguous_dates_in_order_are_a_warning(read_rows: ReadRows) -> None:
    rows = call(("u", "a", "04/02/2026 11:01"), ("a", "b", "04/02/2026 11:02"))
    conversations, source, _ = read_rows(rows)
    assert said(conversations[0]) == ["u:a", "a:b"]
    assert found(source)["times_not_read"] == (
        'created holds "04/02/2026 11:01", which leaves open whether the day or the month comes first: messages '
        "stay in the order of their rows."
    )


def test_a_named_column_in_doubt_names_the_flags(read_rows: ReadRows) -> None:
    rows = call(("u", "a", "4/2/2026"), ("a", "b", "5/2/2026"))
    with pytest.raises(SourceError, match='"created" can\'t be read') as error:
        read_rows(rows, time_column="created")
    assert "--day-first" in (error.value.hint or "")
    assert said(read_rows(rows, time_column="created", day_first=True)[0][0]) == ["u:a", "a:b"]


def test_a_time_without_its_day_is_named(read_rows: ReadRows) -> None:
    _, source, _ = read_rows(call(("u", "a", "9:58 AM"), ("a", "b", "12:02 PM"), ("u", "c", "1:10 PM")))
    assert 'created holds "9:58 AM", a time without its day' in found(source)["times_not_read"]


def test_rows_ordered_newest_first_are_refused(read_rows: ReadRows) -> None:
    with pytest.raises(SourceError, match="newest first") as error:
        read_rows(call(("a", "b", "13:02"), ("u", "a", "12:58")))
    assert "2025-03-01 10:30:00" in (error.value.hint or "")


def test_words_are_named(read_rows: ReadRows) -> None:
    _, source, _ = read_rows(call(("u", "a", "yesterday"), ("a", "b", "today")))
    assert 'created holds "yesterday", which can\'t be read as a time' in found(source)["times_not_read"]


def test_a_number_of_the_turn_puts_in_order_whatever_the_times(
    read_rows: ReadRows,
) -> None:
    rows = call(("a", "b", "13:02"), ("u", "a", "12:58"))
    conversations, source, _ = read_rows([{**row, "turn": 2 - place} for place, row in enumerate(rows)])
    assert said(conversations[0]) == ["u:a", "a:b"]
    assert "times_not_read" not in found(source)


def test_newest_first_reads_the_lower_row_first_and_says_so(
    read_rows: ReadRows,
) -> None:
    day = "2026-02-04 11:0"
    rows = call(("a", "d", f"{day}2"), ("u", "c", f"{day}2"), ("a", "b", f"{day}1"), ("u", "a", f"{day}1"))
    conversations, source, _ = read_rows(rows)
    assert said(conversations[0]) == ["u:a", "a:b", "u:c", "a:d"]
    assert found(source) == {
        "ties_newest_first": "created mostly falls from row to row, and 2 rows have the time of the row before: of "
        "equal times the lower row is read first."
    }


def test_order_of_equal_times_follows_other_conversations(
    read_rows: ReadRows,
) -> None:
    days = [f"2026-02-{9 - case:02}" for case in range(3)]
    falling = [row for case, day in enumerate(days) for row in call(("a", "b", day), ("u", "a", day), case=case)]
    assert {tuple(said(row)) for row in read_rows(falling)[0]} == {("u:a", "a:b")}


def test_oldest_first_keeps_the_order_of_the_rows(read_rows: ReadRows) -> None:
    rows = call(("u", "a", "2026-02-04"), ("a", "b", "2026-02-04"), ("u", "c", "2026-02-05"))
    conversations, source, _ = read_rows(rows)
    assert said(conversations[0]) == ["u:a", "a:b", "u:c"]
    assert "ties_newest_first" not in found(source)
