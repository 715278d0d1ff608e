"""`retune evaluate` as people call it, against the real server."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Retune = Callable[..., CompletedProcess[str]]

COLUMNS = ("--user-column", "message", "--assistant-column", "label")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.csv"
    path.write_text("message,label\n" + "".join(f"question {number},answer {number % 3}\n" for number in range(12)))
    return path


@pytest.fixture
def own_server(training_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_BASE_URL", training_server)
    return training_server


def failed(result: CompletedProcess[str], *expected: str) -> None:
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    for text in expected:
        assert text in result.stdout + result.stderr


@pytest.mark.usefixtures("own_server")
def test_models_are_compared_and_nothing_is_trained(retune: Retune, table: Path, tmp_path: Path) -> None:
    result = retune("evaluate", "baseline-text", "baseline-text", "--data", str(table), *COLUMNS)
    assert result.returncode == 0, result.stderr
    assert "12 examples" in result.stdout
    assert "Exact match" in result.stdout
    assert "against baseline-text: Exact match ±0.0 points" in result.stdout
    assert not (tmp_path / "retune-home" / "runs").exists()
    again = retune("evaluate", "baseline-text", "--data", str(table), *COLUMNS, "--json", "--max-examples", "5")
    found = json.loads(again.stdout)
    assert (found["n"], found["models"][0]["scores"]["n_answered"]) == (5, 5)


@pytest.mark.usefixtures("own_server")
def test_a_model_that_answers_nothing_is_said_and_fails(retune: Retune, table: Path) -> None:
    result = retune("evaluate", "baseline-text", "nosuch", "--data", str(table), *COLUMNS)
    failed(result, "no answer", "nosuch answered 0 of the 12 examples: 404 model_not_found", "nothing to compare")


def test_a_model_may_be_at_another_address(retune: Retune, table: Path, training_server: str) -> None:
    """No server is started for it, and OPENAI_API_KEY stays where it belongs."""
    result = retune("evaluate", f"baseline-text@{training_server}", "--data", str(table), *COLUMNS, OPENAI_API_KEY="k")
    assert result.returncode == 0, result.stderr
    assert "Exact match" in result.stdout


def test_a_key_goes_only_to_the_address_that_it_is_for(retune: Retune, table: Path) -> None:
    elsewhere = "https://models.example/v1"
    result = retune("evaluate", f"m@{elsewhere}", "--data", str(table), *COLUMNS, OPENAI_API_KEY="sk-mine")
    failed(result, f"No key is known for {elsewhere}", f"--key-for {elsewhere}=VARIABLE")
    assert "sk-mine" not in result.stdout + result.stderr
    named = ("--base-url", "https://other.example/v1")
    failed(
        retune("evaluate", f"m@{elsewhere}", "--data", str(table), *COLUMNS, *named, OPENAI_API_KEY="sk-mine"),
        "OPENAI_API_KEY is for https://other.example/v1",
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--key-for", "https://models.example/v1=sk-NOT-SET"), "no variable has the name given"),
        (("--key-for", "sk-NOT-AN-ADDRESS"), "what was given lacks the ="),
    ],
)
def test_a_key_needs_an_address_and_a_variable(
    retune: Retune, table: Path, flags: tuple[str, str], expected: str
) -> None:
    result = retune("evaluate", "m", "--data", str(table), *COLUMNS, *flags)
    failed(result, "--key-for", expected)
    assert "sk-NOT" not in result.stdout + result.stderr


def test_a_key_that_is_for_no_model_is_refused(retune: Retune, table: Path, training_server: str) -> None:
    flags = ("--key-for", "https://models.example/v1=MY_KEY")
    model = f"baseline-text@{training_server}"
    result = retune("evaluate", model, "--data", str(table), *COLUMNS, *flags, MY_KEY="k")
    failed(result, "https://models.example/v1: none of the models is at that address", training_server)


@pytest.mark.usefixtures("own_server")
def test_examples_without_an_answer_are_counted(retune: Retune, tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = {"role": "user", "content": "a"}
    rows = [
        {"messages": [asked, {"role": "assistant", "content": "b"}]},
        {"messages": [asked, {"role": "assistant", "tool_calls": [call]}]},
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = retune("evaluate", "baseline-text", "--data", str(path))
    assert "1 of 2 examples have no answer in text and are left out" in result.stderr
    assert "1 examples" in result.stdout
    path.write_text(json.dumps(rows[1]) + "\n")
    failed(retune("evaluate", "baseline-text", "--data", str(path)), "no example with an answer in text")
