"""`retune check --fix` lists every row that it leaves out, and leaves out what the checks call nothing to learn."""

import json
from pathlib import Path

from check_command import Check, good_rows, write_table


def write_calls(path: str, failed: list[int]) -> None:
    """Logged calls, of which some failed."""
    answers = [{"error": {"message": "overloaded"}} if n in failed else {"answer": f"a {n}"} for n in range(3_000)]
    with Path(path).open("w") as stream:
        for number, answer in enumerate(answers):
            asked = {"messages": [{"role": "user", "content": f"Where is parcel {number}?"}]}
            stream.write(json.dumps({"request": asked, "response": answer}) + "\n")


def test_fix_leaves_out_the_calls_that_check_says_have_failed(check: Check) -> None:
    failed = [3, *range(100, 2_600)]
    write_calls("calls.jsonl", failed)
    assert check("calls.jsonl", "--json").kinds >= {"failed_call"}

    answer = check("calls.jsonl", "--fix", "fixed.jsonl", "--json")

    assert answer.status == 0, answer
    assert answer.document["fix"]["counts"] == {"failed_call_dropped": len(failed)}
    assert "failed_call" not in answer.kinds
    changes = [json.loads(line) for line in Path("fixed.jsonl.changes.jsonl").read_text().splitlines()]
    assert [change["line"] for change in changes] == [number + 1 for number in failed]


def test_fix_lists_a_total_that_it_leaves_out(check: Check) -> None:
    write_table("tickets.csv", [*good_rows(), ("Total", "40")])

    answer = check("tickets.csv", "--fix", "fixed.jsonl")

    assert answer.status == 0, answer
    assert "40 of 40" in answer.out
    assert "1 total below a table dropped" in answer.out


def test_every_row_that_is_dropped_is_listed(check: Check) -> None:
    rows = "".join(f"{question},{answer}\n" for question, answer in good_rows(20))
    Path("data").mkdir()
    Path("data/a.csv").write_text(f"question,answer\n,\n\n{rows},\n{rows.replace('customer', 'client')},\n,\n")
    Path("data/b.csv").write_text("\nquestion,answer\n,\n,\n")
    Path("data/c.csv").write_text(f"question,answer\n\n{rows.replace('customer', 'guest')}")

    answer = check("data", "--fix", "fixed.jsonl", "--json")

    changes = [json.loads(line) for line in Path("fixed.jsonl.changes.jsonl").read_text().splitlines()]
    assert [(change["file"][-5:], change["row"], change.get("to"), change["done"]) for change in changes] == [
        (*place, "empty_dropped")
        for place in [("a.csv", 2, 3), ("a.csv", 24, None), ("a.csv", 45, 46), ("b.csv", 3, 4), ("c.csv", 2, None)]
    ]
    assert answer.document["fix"]["counts"] == {"empty_dropped": 8}


def test_blank_lines_of_jsonl_are_listed(check: Check) -> None:
    line = '{"messages": [{"role": "user", "content": "a%d"}, {"role": "assistant", "content": "b"}]}\n'
    Path("a.jsonl").write_text("\n" + "".join(line % number for number in range(20)) + "\n\n")

    answer = check("a.jsonl", "--fix", "fixed.jsonl")

    changes = [json.loads(line) for line in Path("fixed.jsonl.changes.jsonl").read_text().splitlines()]
    assert [(change["line"], change.get("to")) for change in changes] == [(1, None), (22, 23)]
    assert "3 empty rows dropped" in answer.out
