from datetime import date
from typing import Any

from rows_source import Choose, MakeSource, Read

from retune.data.example.example import Example

ASKED = {"role": "user", "content": "2 + 2?"}
TOOLS = [{"type": "function", "function": {"name": "add"}}]


def body_of(examples: list[Example]) -> dict[str, Any]:
    [example] = examples
    assert example.findings == ()
    return example.body


def test_everything_beside_the_messages_is_kept(make_source: MakeSource, read: Read, choose: Choose) -> None:
    line = {"messages": [ASKED], "reference_answer": {"value": 4.0, "units": None}, "tools": TOOLS, "id": 7}
    source = make_source([line])
    assert body_of(read(source)) == line
    shape = choose(source)
    assert shape.method == "reinforcement"
    assert shape.title == "reinforcement items from messages, item fields reference_answer, id"


def test_conversations_in_cells_are_read(make_source: MakeSource, read: Read) -> None:
    row = {"chat": '[{"role": "user", "content": "2 + 2?"}]', "due": date(2026, 1, 2), "score": float("nan")}
    source = make_source([row], file_format="parquet")
    body = body_of(read(source, method="reinforcement", messages_column="chat"))
    assert body == {"messages": [ASKED], "due": "2026-01-02", "score": None}


def test_columns_beside_what_the_user_says_become_fields(make_source: MakeSource, read: Read, choose: Choose) -> None:
    source = make_source([{"id": 7, "question": "2 + 2?", "answer": "4"}], file_format="csv")
    assert body_of(read(source, method="reinforcement")) == {"messages": [ASKED], "id": 7, "answer": "4"}
    named = {"user_template": "{id}: {question}", "assistant_column": "answer", "system": "Add."}
    assert body_of(read(source, method="reinforcement", **named)) == {
        "messages": [{"role": "system", "content": "Add."}, {"role": "user", "content": "7: 2 + 2?"}],
        "answer": "4",
    }
    assert choose(source, "reinforcement").title == "reinforcement items from question, item fields id, answer"


def test_an_answer_put_together_is_the_reference(make_source: MakeSource, read: Read) -> None:
    source = make_source([{"question": "2 + 2?", "low": 3, "high": 5}])
    named = {"user_column": "question", "assistant_template": "{low} to {high}", "shape": "reinforcement"}
    body = body_of(read(source, **named))
    assert body == {"messages": [ASKED], "low": 3, "high": 5, "reference_answer": "3 to 5"}


def test_bytes_that_are_no_text_are_a_finding(make_source: MakeSource, read: Read) -> None:
    [example] = read(make_source([{"messages": [ASKED], "raw": b"\xff"}]), method="reinforcement")
    assert [finding.kind for finding in example.findings] == ["not_utf8"]
