import json
import os
import pickle
import shlex
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from check_command import Check, good_rows, write_table
from typer.main import get_command

from retune.cli import app
from retune.config import DataConfig, ProviderConfig, SplitConfig
from retune.data.cost.estimate import format_usd, refuse_if_too_expensive
from retune.data.dataset_checks.check import check_store
from retune.data.ingest.load import LoadOptions, load_examples
from retune.errors import ConfigError
from retune.provider.endpoint import require_endpoint

KEYS = {
    "exit_status",
    "n_errors",
    "n_warnings",
    "source",
    "files",
    "shape",
    "unused",
    "method",
    "provider",
    "model",
    "n_examples",
    "tokens",
    "token_histogram",
    "labels",
    "splits",
    "split_origins",
    "cost",
    "max_cost_usd",
    "is_too_expensive",
    "dates",
    "has_ended",
    "groups",
    "not_applied",
    "report",
    "fix",
}


def test_data_without_problems_passes_the_check(check: Check) -> None:
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


def test_warnings_do_not_fail_the_check(check: Check) -> None:
    write_table("tickets.csv", [*good_rows(), good_rows()[0]])

    answer = check("tickets.csv")

    assert answer.status == 0, answer
    assert "duplicate_example  warning" in answer.out
    assert "No errors. " in answer.out
    assert "Drop 1 duplicate, in a new file: retune check tickets.csv --fix tickets.fixed.jsonl" in answer.out


def test_one_json_document_and_nothing_else(check: Check) -> None:
    write_table("tickets.csv", [*good_rows(), good_rows()[0]])

    answer = check("tickets.csv", "--json", "--model", "gpt-4.1-mini-2025-04-14", "--ignore-dates")

    assert set(answer.document) == KEYS
    assert answer.err == ""
    assert answer.document["exit_status"] == answer.status == 0
    # The duplicate, and how few are held out.
    assert answer.document["n_warnings"] == 2
    assert answer.document["n_examples"] == 41
    assert answer.document["cost"]["usd"] == pytest.approx(answer.document["cost"]["training_tokens"] * 3 * 5e-6)
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


def test_training_over_the_cost_limit_fails_the_check(check: Check) -> None:
    write_table("tickets.csv", good_rows())

    model = ("--model", "gpt-4.1-nano-2025-04-14", "--ignore-dates")
    cheap = check("tickets.csv", *model, "--max-cost-usd", "0.001", "--json")

    assert cheap.status == 1
    assert cheap.document["is_too_expensive"] is True
    assert check("tickets.csv", *model, "--max-cost-usd", "100").status == 0
    shown = check("tickets.csv", *model, "--max-cost-usd", "0.001").out
    amount = format_usd(cheap.document["cost"]["usd"])
    assert amount.startswith("$0.00")
    assert amount != "$0.00"
    assert f"about {amount}: " in shown
    assert f"would cost about {amount}, but max_cost_usd allows {format_usd(0.001)}. A run would stop here" in shown


@pytest.mark.parametrize(
    ("model", "address"),
    [
        ("gpt-4.1-mini-2025-04-14", "http://127.0.0.1:9/v1"),
        ("gpt-4.1-mini-2025-04-14", "https://api.openai.com/v1"),
        ("baseline-text", "http://127.0.0.1:9/v1"),
        ("baseline-text", None),
    ],
)
def test_check_and_run_agree_on_what_is_too_expensive(
    check: Check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, address: str | None
) -> None:
    is_refused = model != "baseline-text"
    write_table("tickets.csv", good_rows())
    if address is not None:
        monkeypatch.setenv("OPENAI_BASE_URL", address)
    # What `retune run` does once it has started its own server.
    provider = ProviderConfig() if address else ProviderConfig(base_url="http://127.0.0.1:9/v1", is_embedded=True)
    options = LoadOptions(model, provider=require_endpoint(provider).kind)
    store = load_examples(DataConfig(source="tickets.csv"), SplitConfig(), options, tmp_path / "store")
    report = check_store(store, SplitConfig(), model=model, n_epochs="auto", path=tmp_path / "report.json")

    answer = check("tickets.csv", "--model", model, "--max-cost-usd", "0.001", "--json")

    assert answer.document["is_too_expensive"] is is_refused
    assert report.cost is not None
    with pytest.raises(ConfigError) if is_refused else nullcontext():
        refuse_if_too_expensive(report.cost, 0.001)


def test_check_of_preference_pairs_promises_no_run(check: Check) -> None:
    pairs = [
        {
            "input": {"messages": [{"role": "user", "content": f"Where is number {number}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"There: {number}. "}],
            "non_preferred_output": [{"role": "assistant", "content": f"No idea {number}."}],
        }
        for number in range(20)
    ]
    Path("pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))

    lines = check("pairs.jsonl").out.splitlines()

    verdict, *advice = lines[next(index for index, line in enumerate(lines) if line.startswith("No errors.")) :]
    assert verdict.endswith(" warnings.")
    assert advice[:2] == [
        "→ Trim 20 texts, in a new file: retune check pairs.jsonl --fix pairs.fixed.jsonl",
        "→ These examples are for the method dpo; `retune run` trains supervised ones.",
    ]
    assert not any("retune run --data" in line for line in lines)


def test_a_file_from_windows_needs_nothing_done(check: Check) -> None:
    rows = "".join(f"{question},{answer}\r\n" for question, answer in good_rows(400))
    Path("tickets.csv").write_bytes(b"\xef\xbb\xbf" + f"question,answer\r\n{rows}".encode())

    answer = check("tickets.csv")

    assert "windows_line_ends  note" in answer.out
    assert "byte_order_mark  note" in answer.out
    assert "Nothing is wrong." in answer.out
    assert "--fix tickets" not in answer.out


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        ((), None, "retune"),
        (("--model", "gpt-4.1-mini-2025-04-14"), None, "openai"),
        ((), "https://name.openai.azure.com/openai/v1", "azure"),
        (("--provider", "openai"), "https://name.openai.azure.com/openai/v1", "openai"),
        (("--provider", "other"), None, "other"),
    ],
)
def test_check_uses_the_limits_of_the_provider(
    check: Check, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], environment: str | None, expected: str
) -> None:
    write_table("tickets.csv", good_rows())
    if environment is not None:
        monkeypatch.setenv("OPENAI_BASE_URL", environment)

    assert check("tickets.csv", *flags, "--json").document["provider"] == expected


class MakesADirectory:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("made",)


def test_a_pickle_runs_its_code_only_where_it_is_trusted(check: Check) -> None:
    Path("tickets.pkl").write_bytes(pickle.dumps(MakesADirectory()))

    refused = check("tickets.pkl")
    assert refused.status == 2
    assert "mkdir" in refused.err
    assert not Path("made").exists()

    check("tickets.pkl", "--trust-pickle")
    assert Path("made").exists()


@pytest.mark.parametrize(
    ("name", "content", "status", "expected"),
    [
        ("array.jsonl", '[{"question": "a", "answer": "b"}]', 1, "too_few_examples"),
        ("nine.csv", "question,answer\n" + "".join(f"q{n},a{n}\n" for n in range(9)), 1, "too_few_examples"),
        ("numbers.csv", "question,answer\n" + "".join(f"q{n},{n}\n" for n in range(20)), 0, "text_is_number"),
        (
            "mixed.jsonl",
            '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n' * 12
            + '{"prompt": "q", "completion": "a"}\n',
            1,
            "line 13",
        ),
    ],
)
def test_files_that_are_not_what_they_seem(check: Check, name: str, content: str, status: int, expected: str) -> None:
    Path(name).write_text(content)

    answer = check(name)

    assert answer.status == status, answer
    assert expected in answer.out + answer.err


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


def test_piped_output_is_not_wrapped(check: Check) -> None:
    thanks = {"role": "user", "content": "Thanks"}
    messages = [[{"role": role, "content": f"{role} {n}"} for role in ("user", "assistant")] for n in range(40)]
    lines = [json.dumps({"messages": [*pair, thanks]}) for pair in messages]
    Path("x.txt").write_text("\n".join(lines))
    flags = ("--format", "jsonl", "--system", 'Be "kind", please', "--model", "gpt-4o-mini-2024-07-18")

    answer = check("x.txt", *flags, "--provider", "azure")

    assert all(line == line.rstrip() for line in answer.out.splitlines())
    assert any(len(line) > 130 and "so does --fix." in line for line in answer.out.splitlines())
    assert f"retune run --data x.txt {shlex.join(flags)}\n" in answer.out
    assert f"retune check x.txt {shlex.join(flags)} --provider azure --fix x.fixed.jsonl\n" in answer.out
