"""One Prefect server for all tests, since each takes seconds to start, and `retune check` in this process."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from check_command import Check, run_check
from prefect_template import copy_prefect_home, shared_directory

from retune.local.prefect_server import prefect_server

_PASSWORD = "admin:of-a-test"


@pytest.fixture
def prefect_api_url(own_prefect_api_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a real Prefect API, whose password is in the environment."""
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", _PASSWORD)
    return own_prefect_api_url


@pytest.fixture(scope="session")
def own_prefect_api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real Prefect API, with nothing in it but the runs of other tests."""
    before = dict(os.environ)
    home = tmp_path_factory.mktemp("prefect")
    copy_prefect_home(shared_directory(tmp_path_factory), home / "prefect")
    os.environ["RETUNE_HOME"] = str(home)
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = _PASSWORD
    for name in ("PREFECT_API_URL", "PREFECT_HOME"):
        os.environ.pop(name, None)
    try:
        with prefect_server() as api_url:
            os.environ.clear()
            os.environ.update(before)
            yield api_url
    finally:
        os.environ.clear()
        os.environ.update(before)


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
