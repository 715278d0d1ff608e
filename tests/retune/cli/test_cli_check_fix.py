"""`retune check --fix`: a new file with the safe repairs made, and the source as it was."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from check_command import Check, files, good_rows, write_table


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
    # Rows 42 and 43 are empty; line ends are replaced in the file as a whole, and in the content of row 44.
    assert counts == {"byte_order_mark_removed": 1, "empty_dropped": 2, "line_ends_replaced": 2}


def test_fix_still_reports_what_it_can_not_repair(check: Check) -> None:
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
    before = files()
    assert len(before) == 4

    answer = check(source, "--fix", target)

    assert answer.status == 2
    assert answer.err.startswith("Error: ")
    assert files() == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--fix", "x.jsonl", "--report", "x.jsonl.changes.jsonl"), "would replace what --fix writes"),
        (("--fix", "x.jsonl", "--report", "./x.jsonl"), "would replace what --fix writes"),
        (("--fix", "x.jsonl", "--report", "tickets.csv"), "the source itself"),
        (("--report", "linked.csv"), "the source itself"),
        (("--fix", "linked.jsonl"), "the source itself"),
        (("--fix", "nodir/x.jsonl"), "directory nodir does not exist"),
        (("--report", "nodir/x.json"), "directory nodir does not exist"),
        (("--report", "directory"), "is a directory"),
        (("--fix", "directory.jsonl"), "is a directory"),
    ],
)
def test_nothing_is_written_over_what_was_read_or_just_written(
    check: Check, arguments: tuple[str, ...], expected: str
) -> None:
    write_table("tickets.csv", [*good_rows(), good_rows()[0]])
    Path("linked.csv").hardlink_to("tickets.csv")
    Path("linked.jsonl").hardlink_to("tickets.csv")
    Path("directory").mkdir()
    Path("directory.jsonl").mkdir()
    before = files()

    answer = check("tickets.csv", *arguments, "--force")

    assert answer.status == 2
    assert expected in answer.err
    assert "Make room" not in answer.err
    assert files() == before
    assert not Path("nodir").exists()


def test_a_database_is_a_source_too(check: Check) -> None:
    with closing(sqlite3.connect("tickets.db")) as database, database:
        database.execute("CREATE TABLE t (question, answer)")
        database.executemany("INSERT INTO t VALUES (?, ?)", good_rows())
    before = files()

    answer = check("sqlite:///tickets.db", "--query", "SELECT * FROM t", "--report", "tickets.db")

    assert answer.status == 2
    assert files() == before


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


def test_files_that_users_name_have_their_umask(retune: Any, tmp_path: Path) -> None:
    rows = "".join(f"{question},{answer}\n" for question, answer in good_rows())
    (tmp_path / "tickets.csv").write_text(f"question,answer\n{rows}")

    done = retune("check", "tickets.csv", "--fix", "fixed.jsonl", "--report", "report.json")

    assert done.returncode == 0, done.stderr
    written = [tmp_path / name for name in ("fixed.jsonl", "fixed.jsonl.changes.jsonl", "report.json")]
    assert [oct(path.stat().st_mode & 0o777) for path in written] == ["0o644"] * 3


def test_fix_keeps_the_splits_of_the_source_in_files_of_their_own(check: Check) -> None:
    rows = [(f"question {number}", f" answer {number}", "test" if number < 20 else "train") for number in range(60)]
    # Twice in one split, and in two with another answer.
    rows += [rows[-1], ("question 0", "another answer", "train")]
    Path("tickets.csv").write_text("\n".join(["question,answer,split", *map(",".join, rows)]) + "\n")

    answer = check("tickets.csv", "--fix", "fixed.jsonl", "--json")

    assert answer.document["fix"]["held_out"] == {"test": "fixed.test.jsonl"}
    assert answer.document["fix"]["counts"]["duplicate_dropped"] == 1
    assert len(Path("fixed.test.jsonl").read_text().splitlines()) == 20
    assert len(Path("fixed.jsonl").read_text().splitlines()) == 40
    overlap = json.loads(Path("fixed.jsonl.changes.jsonl").read_text().splitlines()[-1])
    assert (overlap["row"], overlap["done"]) == (63, "overlap_dropped")
    assert overlap["asks_the_same_as"] == {"file": "tickets.csv", "row": 2, "split": "test"}
    assert answer.document["n_errors"] == 0
    Path("other.test.jsonl").write_text("mine")
    refused = check("tickets.csv", "--fix", "other.jsonl")
    assert (refused.status, "other.test.jsonl already exists" in refused.err) == (2, True)
    assert not Path("other.jsonl").exists()


def test_question_in_several_splits_stays_in_the_most_held_out(check: Check) -> None:
    rows = [(f"question {number}", f"answer {number}", "train") for number in range(40)]
    rows += [(f"question {number}", f"answer {number}", "validation") for number in range(30, 45)]
    rows += [(f"question {number}", f"another answer {number}", "test") for number in range(35, 60)]
    Path("tickets.csv").write_text("\n".join(["question,answer,split", *map(",".join, rows)]) + "\n")

    before = check("tickets.csv")
    assert (before.status, "Keep each question in one split, in a new file: retune" in before.out) == (1, True)
    answer = check("tickets.csv", "--fix", "fixed.jsonl", "--json")

    assert answer.document["n_errors"] == 0
    assert answer.document["fix"]["counts"] == {"overlap_dropped": 20}
    asked = {
        name: {json.loads(line)["messages"][0]["content"] for line in Path(name).read_text().splitlines()}
        for name in ("fixed.jsonl", "fixed.validation.jsonl", "fixed.test.jsonl")
    }
    assert [len(questions) for questions in asked.values()] == [30, 5, 25]
    assert asked["fixed.test.jsonl"] == {f"question {number}" for number in range(35, 60)}


@pytest.mark.parametrize(
    "flags",
    [
        ("--split", "group", "--split-column", "customer"),
        ("--split", "random", "--stratify", "--stratify-column", "customer"),
    ],
)
def test_a_split_that_goes_by_a_column_is_kept_though_the_column_is_not(check: Check, flags: tuple[str, ...]) -> None:
    rows = [(f"question {number}", f" answer {number}", f"c{number // 10}") for number in range(200)]
    Path("grouped.csv").write_text("\n".join(["question,answer,customer", *map(",".join, rows)]) + "\n")
    before = check("grouped.csv", *flags, "--json").document["splits"]

    answer = check("grouped.csv", *flags, "--fix", "fixed.jsonl")

    assert answer.status == 0, answer
    names = {"train": "fixed.jsonl", "validation": "fixed.validation.jsonl", "test": "fixed.test.jsonl"}
    asked = {
        split: [json.loads(line)["messages"][0]["content"] for line in Path(name).read_text().splitlines()]
        for split, name in names.items()
    }
    assert {split: len(questions) for split, questions in asked.items()} == before
    customers = {split: {int(text.split()[1]) // 10 for text in questions} for split, questions in asked.items()}
    is_apart = not (customers["train"] & customers["test"] or customers["train"] & customers["validation"])
    assert is_apart == ("group" in flags)
    [advice] = [line for line in answer.out.splitlines() if "Train on it" in line]
    held_out = "--validation-data fixed.validation.jsonl --test-data fixed.test.jsonl --validation 0 --test 0"
    assert advice.endswith(f"retune run --data fixed.jsonl {held_out}")
    words = advice.partition("--data ")[2].split()
    assert check(*words, "--json").document["splits"] == before


def test_advice_for_a_configuration_that_splits_by_a_column_works(check: Check) -> None:
    rows = [(f"question {number}", f" answer {number}", f"c{number // 10}") for number in range(200)]
    Path("grouped.csv").write_text("\n".join(["question,answer,customer", *map(",".join, rows)]) + "\n")
    Path("c.yaml").write_text("data: {source: grouped.csv}\nsplit: {method: group, column: customer}\n")

    answer = check("--config", "c.yaml", "--fix", "fixed.jsonl")

    assert "in its split leave out method and columns, and set validation and test to 0" in " ".join(answer.out.split())
    data = "{source: fixed.jsonl, validation_source: fixed.validation.jsonl, test_source: fixed.test.jsonl}"
    Path("c.yaml").write_text(f"data: {data}\nsplit: {{validation: 0, test: 0}}\n")
    assert check("--config", "c.yaml").status == 0


def test_held_out_file_of_an_earlier_repair_is_removed(check: Check) -> None:
    rows = [(f"question {number}", f" answer {number}", "test" if number < 20 else "train") for number in range(60)]
    Path("split.csv").write_text("\n".join(["question,answer,split", *map(",".join, rows)]) + "\n")
    write_table("plain.csv", good_rows())
    check("split.csv", "--fix", "fixed.jsonl")
    before = files()

    answer = check("plain.csv", "--fix", "fixed.jsonl", "--force")

    assert answer.status == 2
    assert "fixed.test.jsonl exists, but this source has no test split" in answer.err
    assert files() == before
    Path("fixed.test.jsonl").unlink()
    assert check("plain.csv", "--fix", "fixed.jsonl", "--force").status == 0


def test_a_file_that_was_not_read_to_its_end_is_not_repaired(check: Check) -> None:
    asked = "a " * 200
    line = f'{{"messages": [{{"role": "user", "content": "{asked}"}}, {{"role": "assistant", "content": " "}}]}}\n'
    Path("a.jsonl").write_text(line * 12_000)

    answer = check("a.jsonl", "--max-errors", "1000", "--json")
    assert answer.status == 1
    kinds = {group["kind"]: group for group in answer.document["groups"]}
    assert kinds["empty_content"]["count"] == answer.document["n_examples"] < 12_000
    assert kinds["reading_stopped"]["first"][0]["message"] == (
        f"more than 1,000 errors up to line {answer.document['n_examples']}. What comes after it was not read, and is "
        "not in this report."
    )

    fixed = check("a.jsonl", "--max-errors", "1000", "--fix", "fixed.jsonl")
    assert (fixed.status, "A repaired file would lack it." in fixed.err) == (1, True)
    assert not Path("fixed.jsonl").exists()
    assert check("a.jsonl", "--max-errors", "1000000", "--fix", "fixed.jsonl").status == 1


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--max-rows", "39", "tickets.csv has more than 39 examples."),
        ("--max-disk-gb", "0.000001", "tickets.csv: its examples take more than 1e-06 GB of disk."),
        ("--max-minutes", "0.0000001", "tickets.csv: reading the source has taken more than 1e-07 minutes."),
    ],
)
def test_what_is_beyond_a_limit_is_refused_and_the_flag_lets_it_through(
    check: Check, flag: str, value: str, message: str
) -> None:
    write_table("tickets.csv", good_rows())

    answer = check("tickets.csv", flag, value)

    assert answer.status == 2
    assert message in answer.err
    assert f"({flag}), which is {value if flag == '--max-rows' else float(value):} now" in answer.err
    assert check("tickets.csv", flag, "40").status == 0


def test_a_line_of_another_kind_is_not_taken_for_an_empty_one(check: Check) -> None:
    line = '{"messages": [{"role": "user", "content": "a%d"}, {"role": "assistant", "content": "b"}]}\n'
    said = '[{"role": "assistant", "content": "a"}]'
    pair = f'{{"input": {{"messages": []}}, "preferred_output": {said}, "non_preferred_output": {said}}}\n'
    Path("a.jsonl").write_text("".join(line % number for number in range(20)) + pair)

    answer = check("a.jsonl", "--fix", "fixed.jsonl")

    assert answer.status == 1
    assert "1 row is not an example, and a repaired file would lack it:" in answer.err
    assert "line 21: expected a list of messages in messages, found none; there is: input" in answer.err
    assert not Path("fixed.jsonl").exists()
