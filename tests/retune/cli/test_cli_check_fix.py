"""`retune check --fix`: a new file with the safe repairs made, and the source as it was."""

import json
from pathlib import Path

import pytest
from check_command import Check, good_rows, write_table


def test_fix_writes_a_new_file_and_checks_that(check: Check) -> None:
    write_table("tickets.csv", [*good_rows(), ("  padded ", "yes\n"), good_rows()[0]])
    before = Path("tickets.csv").read_bytes()

    answer = check("tickets.csv", "--fix", "fixed.jsonl")

    assert answer.status == 0, answer
    assert "41 of 42" in answer.out
    assert "1 exact duplicate dropped" in answer.out
    assert "1 example trimmed" in answer.out
    assert "retune run --data fixed.jsonl" in answer.out
    assert Path("tickets.csv").read_bytes() == before
    fixed = [json.loads(line) for line in Path("fixed.jsonl").read_text().splitlines()]
    assert fixed[-1]["messages"][0]["content"] == "padded"
    changes = [json.loads(line) for line in Path("fixed.jsonl.changes.jsonl").read_text().splitlines()]
    assert changes == [
        {"file": "tickets.csv", "row": 42, "done": "trimmed", "messages": [1, 2]},
        {"file": "tickets.csv", "row": 43, "done": "duplicate_dropped", "equal_to": {"file": "tickets.csv", "row": 2}},
    ]
    again = check("fixed.jsonl", "--fix", "again.jsonl", "--json")
    assert again.document["fix"]["counts"] == {}
    assert Path("again.jsonl").read_bytes() == Path("fixed.jsonl").read_bytes()


def test_fix_of_a_file_from_windows(check: Check) -> None:
    rows = "".join(f"{question},{answer}\r\n" for question, answer in good_rows())
    Path("tickets.csv").write_bytes(b"\xef\xbb\xbf" + f'question,answer\r\n{rows},\r\n\r\n"a\r\nb",c\r\n'.encode())

    answer = check("tickets.csv", "--fix", "fixed.jsonl", "--json")

    assert answer.status == 0, answer
    content = Path("fixed.jsonl").read_bytes()
    assert b"\r" not in content
    assert b"\\r" not in content
    assert not content.startswith(b"\xef\xbb\xbf")
    counts = answer.document["fix"]["counts"]
    assert counts["byte_order_mark_removed"] == 1
    assert counts["empty_dropped"] >= 1
    assert counts["line_ends_replaced"] >= 1


def test_fix_goes_on_to_report_what_it_does_not_mend(check: Check) -> None:
    write_table("tickets.csv", [*good_rows(), (" ", ""), ("no answer", "")])

    answer = check("tickets.csv", "--fix", "fixed.jsonl", "--json")

    assert answer.status == 1
    assert answer.document["fix"]["counts"] == {"empty_dropped": 1}
    assert answer.kinds >= {"empty_content"}


def test_fix_does_not_lose_rows_that_can_not_be_read(check: Check) -> None:
    line = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    Path("chat.jsonl").write_text(line * 12 + '{"messages": [}\n' + line)

    answer = check("chat.jsonl", "--fix", "fixed.jsonl")

    assert answer.status == 1
    assert "line 13" in answer.err
    assert not Path("fixed.jsonl").exists()
    assert not Path("fixed.jsonl.changes.jsonl").exists()


@pytest.mark.parametrize("target", ["tickets.jsonl", "there.jsonl", "listed.jsonl", "fixed.csv", "data/fixed.jsonl"])
def test_fix_refuses_bad_targets(check: Check, target: str) -> None:
    Path("data").mkdir()
    line = '{"messages": [{"role": "user", "content": "a%d"}, {"role": "assistant", "content": "b%d"}]}\n'
    for name in ("tickets.jsonl", "data/a.jsonl"):
        Path(name).write_text("".join(line % (number, number) for number in range(20)))
    for name in ("there.jsonl", "listed.jsonl.changes.jsonl"):
        Path(name).write_text("precious")
    source = "data" if target.startswith("data") else "tickets.jsonl"
    before = {path: path.read_bytes() for path in Path().rglob("*.*")}

    answer = check(source, "--fix", target)

    assert answer.status == 2
    assert answer.err.startswith("Error: ")
    assert {path: path.read_bytes() for path in Path().rglob("*.*")} == before


def test_force_overwrites_a_file_and_never_the_source(check: Check) -> None:
    write_table("tickets.csv", good_rows())
    Path("there.jsonl").write_text("old")

    assert check("tickets.csv", "--fix", "there.jsonl", "--force").status == 0
    assert Path("there.jsonl").read_text().startswith('{"messages"')

    before = Path("there.jsonl").read_bytes()
    answer = check("there.jsonl", "--fix", "there.jsonl", "--force")
    assert answer.status == 2
    assert "the source itself" in answer.err
    assert Path("there.jsonl").read_bytes() == before
