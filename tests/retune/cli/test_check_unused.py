"""What `retune check` says of columns that reach no example, and that its advice leads on."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from check_command import Answer, Check

N = 24
PAIR = {"question": "What about {}?", "answer": "See page {}."}
CHAT = [{"role": "user", "content": "What about {}?"}, {"role": "assistant", "content": "See page {}."}]
PREFERENCE = {"prompt": "What about {}?", "chosen": "See page {}.", "rejected": "No."}
LATE = 120


def write(*rows: dict[str, Any], name: str = "data.jsonl") -> None:
    """Enough rows: these in turn, with their number in place of {}."""
    lines = [json.dumps(rows[i % len(rows)]).replace("{}", f"{i * 7919} and {i}") for i in range(N)]
    Path(name).write_text("\n".join(lines) + "\n")


def warnings_of(answer: Answer) -> list[str]:
    groups = answer.document["groups"]
    return [first["message"] for group in groups if group["kind"] == "unused_column" for first in group["first"]]


def flags_in(message: str) -> list[str]:
    [flags] = re.findall(r"(--.*)\.$", message, re.DOTALL)
    return shlex.split(flags)


def test_columns_that_reach_no_example_are_one_line(check: Check) -> None:
    write({**PAIR, "id": "{}", "source": "web"})
    answer = check("data.jsonl")
    assert re.search(r"not used +id, source *\n", answer.out)
    assert warnings_of(check("data.jsonl", "--json")) == []


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({**PAIR, "context": "On {}."}, "context"),
        ({"messages": CHAT, "instruction": "Be brief about {}."}, "instruction"),
        ({**PAIR, "history": "User: Hello {}"}, "history"),
        ({"prompt": "What about {}?", "completion": "See {}.", "context": "On {}."}, "context"),
        ({"instruction": "Do {}", "input": "{}", "output": "x{}", "文脈": "On {}."}, "文脈"),
        ({"messages": CHAT, "context": "On {}."}, "context"),
        ({"conversations": CHAT, "system": "Be brief.", "context": "On {}."}, "context"),
        ({**PREFERENCE, "context": "On {}."}, "context"),
        ({**PAIR, "conversation_id": "a"}, "conversation_id"),
        ({"messages": CHAT, "session_id": "a"}, "session_id"),
    ],
)
def test_following_the_advice_uses_the_column(check: Check, row: dict[str, Any], column: str) -> None:
    write(row, {**row, "session_id": "b"} if "session_id" in row else row)
    before = check("data.jsonl", "--json", "--model", "gpt-4.1-mini-2025-04-14", "--ignore-dates")
    assert before.document["unused"] == [column]
    [message] = warnings_of(before)
    assert message.startswith(f"column {column} is not used. ")

    after = check("data.jsonl", "--json", *flags_in(message))
    assert after.document["unused"] == []
    assert after.document["n_examples"] == N


@pytest.mark.parametrize(
    ("row", "column", "says"),
    [
        ({**PAIR, "weight": 0.5}, "weight", "Every row counts the same"),
        ({"messages": CHAT, "weight": 1}, "weight", "Every row counts the same"),
        ({**PAIR, "tools": "hammer"}, "tools", "Tools are read where"),
        ({**PAIR, "label": False}, "label", "the others are learned too"),
        ({**PAIR, "functions": "none"}, "functions", "Tools are read where"),
    ],
)
def test_unusable_column_is_reported(check: Check, row: dict[str, Any], column: str, says: str) -> None:
    write(row)
    answer = check("data.jsonl", "--json")
    assert answer.document["unused"] == [column]
    [message] = warnings_of(answer)
    assert says in message


def test_a_second_column_joins_the_first_in_the_template(check: Check) -> None:
    write({**PAIR, "context": "On {}.", "background": "In {}."})
    first, _ = warnings_of(check("data.jsonl", "--json"))
    flags = flags_in(first)
    [second] = warnings_of(check("data.jsonl", "--json", *flags))
    answer = check("data.jsonl", "--json", *flags_in(second))
    assert answer.document["unused"] == []
    assert answer.document["shape"] == "columns background, context, question → answer (by templates)"


def test_keys_of_later_rows_are_named_too(check: Check) -> None:
    rows = [{"messages": json.loads(json.dumps(CHAT).replace("{}", str(i)))} for i in range(LATE)]
    late = [{**rows[-1], f"key{i}": i, "context": "x", "empty": None} for i in range(150)]
    Path("data.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in [*rows, *late]))

    answer = check("data.jsonl", "--json")

    unused = answer.document["unused"]
    assert unused[:3] == ["key0", "context", "key1"]
    assert len(unused) == 100
    assert "empty" not in unused
    assert len(warnings_of(answer)) == 1
    assert "and at least 70 more" in " ".join(check("data.jsonl").out.split())


def test_columns_of_every_file_count(check: Check) -> None:
    Path("data").mkdir()
    write(PAIR, name="data/a.jsonl")
    write({**PAIR, "context": "On it."}, name="data/b.jsonl")
    answer = check("data", "--json")
    assert answer.document["unused"] == ["context"]


@pytest.mark.parametrize("column", ["images", "image_path", "audio", "videos"])
def test_what_an_example_shows_is_not_left_out_in_silence(check: Check, column: str) -> None:
    asked = {"from": "human", "value": "<image>\nWhat about {}?"}
    write({"conversations": [asked, {"from": "gpt", "value": "See page {}."}], column: ["{}.jpg"]})
    [message] = warnings_of(check("data.jsonl", "--json"))
    assert message.startswith(f"column {column} is not used. What it shows is not learned")


def test_what_a_model_thought_is_not_left_out_in_silence(check: Check) -> None:
    answer = {"from": "gpt", "value": "See page {}.", "reasoning": "Page {} it is."}
    write({"conversations": [{"from": "human", "value": "What about {}?"}, answer]})
    [message] = warnings_of(check("data.jsonl", "--json"))
    assert message.startswith("column conversations.reasoning is not used. What a model thought is not learned")
