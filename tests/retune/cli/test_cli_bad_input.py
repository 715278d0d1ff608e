"""What people do wrong: one clear message, a non-zero exit, no traceback, nothing left behind."""

import json
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from faulty_proxy import Fault, faulty_proxy

from retune.local.embedded_server import embedded_server

Retune = Callable[..., CompletedProcess[str]]

COLUMNS = ("--user-column", "message", "--assistant-column", "label")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.csv"
    path.write_text("message,label\n" + "".join(f"question {number},answer {number % 3}\n" for number in range(40)))
    return path


def said(result: CompletedProcess[str], *expected: str) -> None:
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stdout + result.stderr
    for text in expected:
        assert text in result.stderr


def left_nothing(home: Path) -> None:
    assert not (home / "retune-home" / "runs").exists()


def test_a_missing_file(retune: Retune, tmp_path: Path) -> None:
    said(retune("run", "--data", "tikets.csv", *COLUMNS), "tikets.csv")
    left_nothing(tmp_path)


def test_a_wrong_column_names_those_there_are(retune: Retune, table: Path, tmp_path: Path) -> None:
    result = retune("run", "--data", str(table), "--user-column", "mesage", "--assistant-column", "label")
    said(result, '"mesage"', "message, label", 'Did you mean "message"?')
    left_nothing(tmp_path)


def test_run_on_seven_rows_is_refused(retune: Retune, tmp_path: Path) -> None:
    path = tmp_path / "seven.csv"
    path.write_text("message,label\n" + "".join(f"q{number},a{number}\n" for number in range(7)))
    said(retune("run", "--data", str(path), *COLUMNS), "7", "10")
    left_nothing(tmp_path)


def test_broken_json_names_its_line(retune: Retune, tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    good = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    path.write_text(good * 3 + '{"messages": [}\n' + good * 9)
    said(retune("run", "--data", str(path)), "chat.jsonl", "line 4")
    left_nothing(tmp_path)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch pwned",)


def test_a_pickle_that_wants_to_run_code(retune: Retune, tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(Evil()))
    said(retune("run", "--data", str(path), *COLUMNS), "system")
    assert not (tmp_path / "pwned").exists()
    left_nothing(tmp_path)


def test_an_unknown_setting_in_the_file(retune: Retune, tmp_path: Path) -> None:
    (tmp_path / "retune.yaml").write_text("data: {source: a.csv}\ntraning: {}\n")
    said(retune("run", "--config", "retune.yaml"), "traning: unknown setting; did you mean training?")


def test_run_without_data_is_refused(retune: Retune) -> None:
    said(retune("run"), "data", "required")


def test_a_flag_out_of_bounds(retune: Retune, table: Path) -> None:
    said(retune("run", "--data", str(table), *COLUMNS, "--n-epochs", "51"), "n_epochs must be auto or between 1 and 50")


def test_an_unknown_model(retune: Retune, table: Path, training_server: str, prefect_api_url: str) -> None:
    arguments = ("--data", str(table), *COLUMNS, "--model", "gpt-unheard-of", "--base-url", training_server)
    result = retune("run", *arguments, PREFECT_API_URL=prefect_api_url)
    said(result, "gpt-unheard-of is not available for fine-tuning", "400")


def test_a_server_that_is_not_there(retune: Retune, unused_tcp_port: int) -> None:
    said(
        retune("jobs", "list", "--base-url", f"http://127.0.0.1:{unused_tcp_port}/v1"),
        f"http://127.0.0.1:{unused_tcp_port} can't be reached",
    )


@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_events_of_an_unreachable_server_fail_at_once(
    retune: Retune, unused_tcp_port: int, follow: tuple[str, ...]
) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}/v1"
    said(retune("jobs", "events", "ftjob-x", *follow, "--base-url", address), "can't be reached")


def test_ten_rows_that_leave_too_few_for_training(retune: Retune, tmp_path: Path) -> None:
    path = tmp_path / "ten.csv"
    path.write_text("message,label\n" + "".join(f"q{number},a{number}\n" for number in range(10)))
    said(retune("run", "--data", str(path), *COLUMNS), "--validation 0")
    left_nothing(tmp_path)


def test_a_prefect_server_that_is_not_there(retune: Retune, table: Path, tmp_path: Path, unused_tcp_port: int) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}/api"
    said(retune("run", "--data", str(table), *COLUMNS, PREFECT_API_URL=address), address, "PREFECT_API_URL")
    left_nothing(tmp_path)


def test_run_against_an_unreachable_server_fails_at_once(
    retune: Retune, table: Path, tmp_path: Path, unused_tcp_port: int
) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}/v1"
    said(retune("run", "--data", str(table), *COLUMNS, "--base-url", address), "can't be reached")
    left_nothing(tmp_path)


def test_a_wrong_key(retune: Retune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(
        {
            "error": {
                "message": "Incorrect API key provided: sk-w…g.",
                "type": "x",
                "param": None,
                "code": "invalid_api_key",
            }
        }
    )
    with embedded_server(tmp_path / "data") as server, faulty_proxy(server.base_url) as proxy:
        proxy.faults.append(Fault("GET", "/fine_tuning/jobs", status=401, body=body.encode()))
        result = retune("jobs", "list", "--base-url", proxy.base_url, OPENAI_API_KEY="sk-wrong-and-secret")
    said(result, "Incorrect API key", "Set OPENAI_API_KEY")
    assert "sk-wrong-and-secret" not in result.stderr


def test_a_paid_provider_without_a_key(retune: Retune) -> None:
    said(retune("jobs", "list", "--base-url", "https://api.openai.com/v1"), "OPENAI_API_KEY is not set")


def test_port_in_use_is_an_error(retune: Retune) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said(retune("server", "start", "--port", str(port), "--data-dir", "data"), str(port))


def test_an_open_address_without_a_key(retune: Retune) -> None:
    said(retune("server", "start", "--host", "0.0.0.0", "--data-dir", "data"), "key")  # noqa: S104 - it must be refused


def test_an_unknown_job(retune: Retune) -> None:
    said(retune("jobs", "show", "ftjob-none"), "Could not find fine tune: ftjob-none")


def test_an_unknown_model_to_talk_to(retune: Retune) -> None:
    said(retune("chat", "ft:nobody", "-m", "hello"), "ft:nobody", "does not exist")


def test_debug_shows_where_it_happened(retune: Retune) -> None:
    result = retune("run", "--data", "nowhere.csv", *COLUMNS, "--debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
