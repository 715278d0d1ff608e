"""`retune server`: started as an operator does, and what is wrong about it said in one line."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Retune = Callable[..., CompletedProcess[str]]


@pytest.mark.parametrize("command", ["start", "keys", "keys create", "keys list", "keys revoke"])
def test_every_command_explains_itself(retune: Retune, command: str) -> None:
    result = retune("server", *command.split(), "--help")

    assert result.returncode == 0
    assert "Usage: " in result.stdout


def test_start_names_every_setting(retune: Retune) -> None:
    said = retune("server", "start", "--help").stdout

    flags = "host port data-dir api-key database-url workers allowed-host max-concurrent-jobs max-queued-jobs"
    flags += " max-file-bytes max-upload-bytes max-total-bytes webhook-url log-file log-requests"
    for flag in flags.split():
        assert re.search(rf"--{flag}\s.*[a-z]{{3}}", said), flag
    for variable in ("RETUNE_SERVER_API_KEY", "RETUNE_SERVER_DATABASE_URL", "RETUNE_SERVER_WEBHOOK_SECRET"):
        assert variable in said


def test_it_says_where_it_answers_and_stops_at_ctrl_c(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "retune.cli.app", "server", "start", "--port", "0", "--max-file-bytes", "1MB"],
        cwd=tmp_path,
        env={**os.environ, "RETUNE_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        base_url = process.stdout.readline().removeprefix("Retune's fine-tuning server answers at ").strip()
        with urllib.request.urlopen(f"{base_url}/models") as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)

    assert process.returncode == 0
    assert f"export OPENAI_BASE_URL={base_url}" in said
    assert "Traceback" not in said
    assert (tmp_path / "home" / "server" / "server.sqlite").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--workers", "0"), "--workers: Input should be greater than or equal to 1; found 0."),
        (("--port", "70000"), "--port: Input should be less than or equal to 65535; found 70000."),
        (("--max-file-bytes", "many"), "--max-file-bytes: could not parse value and unit"),
        (("--database-url", "mysql://user:pass-word@host/base"), "must be postgresql://"),
        (("--log-file", "/proc/nowhere/log"), "Can't write the log /proc/nowhere/log"),
    ],
)
def test_a_wrong_setting_is_named(retune: Retune, arguments: tuple[str, ...], words: str) -> None:
    result = retune("server", "start", "--port", "0", *arguments)

    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert "pass-word" not in result.stderr
