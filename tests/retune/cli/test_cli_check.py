import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from check_command import Check, good_rows, write_table
from typer.main import get_command

from retune.cli import app

KEYS = {
    "exit_status",
    "n_errors",
    "n_warnings",
    "source",
    "files",
    "shape",
    "method",
    "provider",
    "model",
    "n_examples",
    "tokens",
    "token_histogram",
    "labels",
    "splits",
    "cost",
    "max_cost_usd",
    "is_too_expensive",
    "groups",
    "not_applied",
    "report",
    "fix",
}


def test_clean_data(check: Check) -> None:
    write_table("tickets.csv", good_rows())

    answer = check("tickets.csv")

    assert answer.status == 0, answer
    assert answer.err == ""
    assert "40 examples from CSV" in answer.out
    assert "columns question → answer" in answer.out
    assert "retune run --data tickets.csv" in answer.out


def test_the_flags_are_in_the_command_that_comes_next(check: Check) -> None:
    write_table("my tickets.csv", good_rows(), ("a b", "c"))

    answer = check(
        "my tickets.csv", "--user-column", "a b", "--assistant-column", "c", "--split", "random", "--test", "5"
    )

    expected = "retune run --data 'my tickets.csv' --user-column 'a b' --assistant-column c --split random --test 5.0"
    assert expected in answer.out


def test_errors_are_grouped_with_their_places(check: Check) -> None:
    rows = good_rows()
    rows[3:8] = [(f"unanswered {number}", "") for number in range(5)]
    write_table("tickets.csv", rows)

    answer = check("tickets.csv")

    assert answer.status == 1
    assert "empty_content  error" in answer.out
    assert "row 5: message 2 (assistant)" in answer.out
    assert "row 7: " in answer.out
    assert "row 8: " not in answer.out
    assert "and 2 more" in answer.out
    assert "5 errors: a run would stop here" in answer.out
    assert "--report FILE" in answer.out


def test_warnings_are_no_reason_to_stop(check: Check) -> None:
    write_table("tickets.csv", [*good_rows(), good_rows()[0]])

    answer = check("tickets.csv")

    assert answer.status == 0, answer
    assert "duplicate_example  warning" in answer.out
    assert "No errors. " in answer.out
    assert "retune check tickets.csv --fix tickets.fixed.jsonl" in answer.out


def test_one_json_document_and_nothing_else(check: Check) -> None:
    write_table("tickets.csv", [*good_rows(), good_rows()[0]])

    answer = check("tickets.csv", "--json", "--model", "gpt-4.1-mini-2025-04-14")

    assert set(answer.document) == KEYS
    assert answer.err == ""
    assert answer.document["exit_status"] == answer.status == 0
    assert answer.document["n_warnings"] >= 1
    assert answer.document["n_examples"] == 41
    assert answer.document["cost"]["usd"] > 0
    assert answer.document["fix"] is None
    assert "duplicate_example" in answer.kinds


def test_the_report_holds_every_problem(check: Check) -> None:
    write_table("tickets.csv", [*good_rows(), *[(f"unanswered {number}", "") for number in range(30)]])

    answer = check("tickets.csv", "--json", "--report", "report.json")

    assert answer.document["report"] == "report.json"
    problems = json.loads(Path("report.json").read_text())["problems"]
    assert sum(problem["kind"] == "empty_content" for problem in problems) == 30


def test_the_report_never_replaces_the_source(check: Check) -> None:
    write_table("tickets.csv", good_rows())
    before = Path("tickets.csv").read_bytes()

    answer = check("tickets.csv", "--report", "./tickets.csv")

    assert answer.status == 2
    assert "the source itself" in answer.err
    assert Path("tickets.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("tikets.csv",), ("tikets.csv", "tickets.csv")),
        (("tickets.csv", "--user-column", "qestion", "--assistant-column", "answer"), ("qestion", '"question"')),
        (("tickets.csv", "--user-column", "question"), ("assistant_column",)),
        (("tickets.csv", "--validation", "0.6", "--test", "0.6"), ("leave something to train on",)),
        (("tickets.csv", "--n-epochs", "51"), ("n_epochs",)),
        (("tickets.csv", "--method", "dpo"), ("dpo",)),
        (("tickets.csv", "--unheard-of"), ("--unheard-of",)),
        ((), ("SOURCE",)),
    ],
)
def test_what_cannot_be_read_exits_with_2(check: Check, arguments: tuple[str, ...], expected: tuple[str, ...]) -> None:
    write_table("tickets.csv", good_rows())

    answer = check(*arguments, "--json")

    assert answer.status == 2
    assert answer.out == ""
    for text in expected:
        assert text in answer.err


def test_too_expensive(check: Check) -> None:
    write_table("tickets.csv", good_rows())

    cheap = check("tickets.csv", "--model", "gpt-4.1-2025-04-14", "--max-cost-usd", "0.001", "--json")

    assert cheap.status == 1
    assert cheap.document["is_too_expensive"] is True
    assert check("tickets.csv", "--model", "gpt-4.1-2025-04-14", "--max-cost-usd", "100").status == 0
    assert "max_cost_usd allows $0.001" in check(
        "tickets.csv", "--model", "gpt-4.1-2025-04-14", "--max-cost-usd", "0.001"
    ).out.replace("$0.0010", "$0.001")


def test_settings_of_a_file(check: Check) -> None:
    write_table("tickets.csv", good_rows(), ("a", "b"))
    Path("retune.yaml").write_text("data: {source: tickets.csv, user_column: a, assistant_column: b}\n")

    answer = check("--config", "retune.yaml")

    assert answer.status == 0, answer
    assert "retune run --config retune.yaml" in answer.out


def test_a_terminal_obeys_nothing_that_stands_in_the_data(check: Check) -> None:
    evil = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202e [bold]not markup[/bold] "
    lines = [{"messages": [{"role": evil, "content": evil}], evil: 1} for _ in range(12)]
    Path("chat.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_table("labels.csv", [(f"question {number}", f"{evil}{number % 2}") for number in range(20)])
    write_table("columns.csv", good_rows(), (evil, "x"))

    for name in ("chat.jsonl", "labels.csv", "columns.csv"):
        for flags in ((), ("--json",)):
            answer = check(name, *flags)
            shown = answer.out + answer.err
            assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown), (name, flags)
    assert "[bold]not markup[/bold]" in check("chat.jsonl").out


def test_check_and_run_take_the_same_flags_on_data() -> None:
    commands = get_command(app.app).commands  # type: ignore[attr-defined]
    flags = {name: {option for item in commands[name].params for option in item.opts} for name in ("check", "run")}
    only_of_run = {"--data", "-d", "--suffix", "--seed", "--batch-size", "--learning-rate-multiplier", "--base-url"} | {
        *("--attempt", "--concurrency", "--max-examples", "--output-dir", "-o", "--verbose", "-v")
    }
    only_of_check = {"source", "--method", "--provider", "--report", "--json", "--fix", "--force"}
    assert flags["run"] - only_of_run == flags["check"] - only_of_check


def test_it_imports_neither_prefect_nor_the_sdk(tmp_path: Path) -> None:
    code = (
        "import sys; from retune.cli.app import main\n"
        "sys.argv = ['retune', 'check', 'tickets.csv', '--user-column', 'q', '--assistant-column', 'a']\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'prefect', 'openai', 'sklearn', 'sqlalchemy'} & sys.modules.keys()))\n"
    )
    (tmp_path / "tickets.csv").write_text("q,a\n" + "".join(f"{number},b{number}\n" for number in range(20)))

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_half_way_it_leaves_nothing_behind(tmp_path: Path, sent: signal.Signals, status: int) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with (tmp_path / "long.csv").open("w") as stream:
        stream.write("question,answer\n")
        stream.writelines(
            f"How is number {number} {'word ' * 30}?,Answer {number} {'term ' * 20}\n" for number in range(150_000)
        )
    command = [sys.executable, "-m", "retune.cli.app", "check", "long.csv", "--fix", "fixed.jsonl"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not list(temporary.glob("retune-check-*/*")) and time.monotonic() < until:
        time.sleep(0.05)
    # As a terminal does: to all processes of the group.
    os.killpg(process.pid, sent)
    out, err = process.communicate(timeout=60)

    assert process.returncode == status, out + err
    assert "Traceback" not in err
    assert list(temporary.glob("retune-check-*")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.csv", "temporary"]
