"""The session's Prefect API for commands in processes of their own, and `retune check` in this process."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from check_command import Check, run_check
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL


@pytest.fixture
def prefect_api_url(prefect_api: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a real Prefect API, whose password is in the environment."""
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", PREFECT_API_AUTH_STRING.value() or "")
    return str(PREFECT_API_URL.value())


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Check]:
    """Runs `retune check` in a directory of its own. Nothing is left behind, whatever happens."""
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    yield lambda *arguments: run_check(monkeypatch, capsys, arguments)
    assert list(temporary.iterdir()) == []
