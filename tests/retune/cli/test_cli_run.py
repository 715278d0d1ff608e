"""`retune run` as a newcomer uses it, and as it is killed, interrupted and run again."""

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import TerminationSignal
from preloaded import PreloadedProcess
from waiting import wait_for

from retune.cli import app, run
from retune.cli.run_view import RunView
from retune.config import RetrainConfig
from retune.errors import UnclearJobError
from retune.local.embedded_server import embedded_server, find_running_server
from retune.local.run_services import RunServices

WORDS = {"refund": "money back please", "delivery": "parcel never came", "login": "password does not work"}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["message", "label"])
        rows.writerows([f"{list(WORDS.values())[n % 3]} {n}", list(WORDS)[n % 3]] for n in range(90))
    return path


def arguments(table: Path, *more: str) -> list[str]:
    columns = ["--user-column", "message", "--assistant-column", "label", "--output-dir", "out"]
    return ["run", "--data", str(table), *columns, *more]


def manifest(tmp_path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    return value


def list_of(retune: Any, *command: str) -> list[dict[str, Any]]:
    value: list[dict[str, Any]] = json.loads(retune(*command, "--json").stdout)
    return value


@contextmanager
def running(
    table: Path, tmp_path: Path, *more: str, starter: tuple[str, ...] = (), **environment: str
) -> Iterator["subprocess.Popen[str]"]:
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    options |= {"cwd": tmp_path, "env": {**os.environ, **environment}}
    if starter:
        command = [*starter, sys.executable, "-m", "retune.cli.app", *arguments(table, *more)]
        process = subprocess.Popen(command, **options)
    else:
        process = PreloadedProcess("retune.cli.app", arguments(table, *more), **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def steps_seen(tmp_path: Path) -> bool:
    job = tmp_path / "out" / "job.json"
    return job.exists() and json.loads(job.read_bytes())["status"] == "running"


def server_is_gone(home: Path) -> bool:
    return find_running_server(home / "server") is None


def everything_of(*directories: Path) -> list[Path]:
    return [path for directory in directories for path in (directory, *directory.rglob("*"))]


def is_open(path: Path) -> bool:
    return bool(path.lstat().st_mode & 0o077) and not path.is_symlink()


def test_run_without_any_setup_trains_and_evaluates(retune: Any, table: Path, tmp_path: Path) -> None:
    """Nothing is set up: the command starts its own Prefect and its own trainer, and leaves neither behind."""
    left_open = tmp_path / "retune-home" / "runs" / "of-an-earlier-version.jsonl"
    left_open.parent.mkdir(parents=True)
    left_open.touch()
    for path in (left_open, left_open.parent, tmp_path / "retune-home"):
        path.chmod(0o755)
    with running(table, tmp_path, "--n-epochs", "3", starter=("env",), COLUMNS="200") as process:
        out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    facts = manifest(tmp_path)
    scores = facts["evaluation"]["fine_tuned"]
    assert f"{scores['exact_match']:.1%}" in out
    assert facts["fine_tuned_model"] in out
    for step in ("load", "check", "split", "write", "upload", "job", "train", "results", "plot", "evaluate"):
        assert f"✓ {step}" in out
    assert server_is_gone(tmp_path / "retune-home")
    answer = retune("chat", facts["fine_tuned_model"], "-m", "my parcel never came")
    assert answer.stdout.strip() in WORDS
    # The other commands would each start the server, too.
    with embedded_server(tmp_path / "retune-home" / "server"):
        (job,) = list_of(retune, "jobs", "list")
        assert job["id"] == facts["job"]["id"]
        events = retune("jobs", "events", job["id"], "--follow").stdout
        assert events.splitlines()[-1].endswith("The job has successfully completed")
        assert facts["job"]["id"] in retune("jobs", "show", job["id"]).stdout
        assert "wrote curves.svg" in retune("jobs", "results", job["id"], "-o", "curves.svg", "-o", "curves.csv").stdout
        assert "epoch 3" in (tmp_path / "curves.svg").read_text(encoding="utf-8")
        assert (tmp_path / "curves.csv").read_text(encoding="utf-8").startswith("step,train_loss,")
        models = [model["id"] for model in list_of(retune, "models", "list")]
        assert {"baseline-text", facts["fine_tuned_model"]} <= set(models)
    assert "was open to other users of this machine" in err
    assert "was open" not in answer.stderr
    assert [path for path in everything_of(tmp_path / "retune-home", tmp_path / "out") if is_open(path)] == []


@pytest.mark.slow
def test_killed_in_the_middle_and_run_again(retune: Any, table: Path, tmp_path: Path, prefect_api_url: str) -> None:
    slow = ("--n-epochs", "30", "--batch-size", "1")
    with running(table, tmp_path, *slow, PREFECT_API_URL=prefect_api_url) as process:
        wait_for(lambda: steps_seen(tmp_path), "the training", process=process)
        process.send_signal(signal.SIGKILL)
    wait_until_gone(tmp_path)
    assert not (tmp_path / "out" / "manifest.json").exists()
    again = retune(*arguments(table, *slow), PREFECT_API_URL=prefect_api_url)
    assert again.returncode == 0, again.stderr
    (job,) = list_of(retune, "jobs", "list")
    assert job["status"] == "succeeded"
    assert manifest(tmp_path)["job"]["id"] == job["id"]
    assert again.stdout.count("(was there already)") == 2
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    steps = [event["data"]["step"] for event in events if event["type"] == "metrics"]
    assert steps == list(range(1, 1 + len(steps)))
    assert (
        len(steps) == json.loads((tmp_path / "out" / "manifest.json").read_bytes())["files"]["train"]["examples"] * 30
    )


def wait_until_gone(tmp_path: Path) -> None:
    wait_for(lambda: server_is_gone(tmp_path / "retune-home"), "the end of the command's server")


# A script's shell starts so what it puts in the background, and nohup adds SIGHUP.
IN_THE_BACKGROUND = ("sh", "-c", 'trap "" INT HUP; exec "$@"', "sh")


@pytest.mark.slow
def test_interrupted_it_says_how_to_resume_and_resumes(
    retune: Any, table: Path, tmp_path: Path, prefect_api_url: str
) -> None:
    slow = ("--n-epochs", "30", "--batch-size", "1")
    interruptions: list[tuple[signal.Signals, tuple[str, ...]]] = [
        *((signal.SIGINT, ()), (signal.SIGTERM, ()), (signal.SIGHUP, ())),
        (signal.SIGTERM, IN_THE_BACKGROUND),
    ]
    for number, starter in interruptions:
        with running(table, tmp_path, *slow, starter=starter, PREFECT_API_URL=prefect_api_url) as process:
            assert process.stdout
            seen = next((line for line in process.stdout if line.startswith("✓ job")), None)
            assert seen, process.communicate()
            if starter:
                # As when the terminal closes; it has no effect.
                process.send_signal(signal.SIGHUP)
            process.send_signal(number)
            _, errors = process.communicate(timeout=150)
        assert process.returncode == 128 + number, errors
        assert "run the same command again" in errors
        assert "Traceback" not in errors
        assert server_is_gone(tmp_path / "retune-home")
    result = retune(*arguments(table, *slow), PREFECT_API_URL=prefect_api_url)
    assert result.returncode == 0, result.stderr
    (job,) = list_of(retune, "jobs", "list")
    assert (job["id"], job["status"]) == (manifest(tmp_path)["job"]["id"], "succeeded")


@pytest.mark.parametrize(
    ("interrupt", "number"),
    [
        (TerminationSignal(signal=signal.SIGTERM), signal.SIGTERM),
        (run._StoppedError(signal.SIGHUP), signal.SIGHUP),
        (KeyboardInterrupt(), signal.SIGINT),
        (asyncio.CancelledError(), signal.SIGINT),
    ],
)
def test_signal_hidden_by_a_prefect_error_stops_the_run(interrupt: BaseException, number: signal.Signals) -> None:
    async def retrain(_config: Any) -> Any:
        try:
            raise interrupt  # noqa: TRY301 - as Prefect does
        except BaseException:  # noqa: BLE001 - likewise
            raise ValueError("Task run is not set")  # noqa: B904 - as Prefect does

    config = RetrainConfig.model_validate({"data": {"source": "tickets.csv"}})
    with pytest.raises(run._StoppedError) as caught:
        run._retrain(RunServices(config, "http://127.0.0.1:4200", retrain), RunView())
    assert caught.value.signal == number


@pytest.mark.parametrize("error", [ValueError("Another error"), UnclearJobError("A job may exist.")])
def test_another_error_is_reported_even_while_a_run_is_being_stopped(error: Exception) -> None:
    async def fail(_config: Any) -> Any:
        try:
            raise asyncio.CancelledError  # noqa: TRY301 - as in a library that times out
        except asyncio.CancelledError:
            raise error  # noqa: B904 - likewise

    config = RetrainConfig.model_validate({"data": {"source": "tickets.csv"}})
    with pytest.raises(type(error), match=str(error)):
        run._retrain(RunServices(config, "http://127.0.0.1:4200", fail), RunView())


@pytest.mark.slow
def test_a_key_of_the_user_s_stays_out_of_everything(
    retune: Any, table: Path, tmp_path: Path, training_server: str, prefect_api_url: str
) -> None:
    secret = "sk-never-to-be-written"
    result = retune(
        *arguments(table, "--base-url", training_server), OPENAI_API_KEY=secret, PREFECT_API_URL=prefect_api_url
    )
    assert result.returncode == 0, result.stderr
    assert secret not in result.stdout + result.stderr
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    "command",
    [
        "",
        "run",
        "chat",
        "jobs",
        "jobs list",
        "jobs show",
        "jobs events",
        "jobs cancel",
        "models",
        "models list",
        "server",
        "server start",
    ],
)
def test_every_command_explains_itself(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["retune", *command.split(), "--help"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 0
    assert "Usage: " in capsys.readouterr().out
