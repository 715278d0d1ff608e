"""A pattern without quotes: the shell has put files in its place."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from retune.cli.app import app
from retune.errors import ConfigError


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name in ("may.csv", "june.csv", "july.csv"):
        (tmp_path / name).write_text("question,answer\nWhere?,Here.\n")
    return [str(path) for path in sorted(tmp_path.iterdir())]


@pytest.mark.parametrize("command", [["check"], ["run", "--data"]])
def test_the_pattern_is_proposed_in_quotes(tmp_path: Path, files: list[str], command: list[str]) -> None:
    refused = CliRunner().invoke(app, [*command, *files]).exception
    assert isinstance(refused, ConfigError)
    assert refused.message.startswith("Expected one source, found 3 files: ")
    assert f"retune {' '.join(command)} '{tmp_path}/*.csv'" in str(refused.hint)


def test_the_proposed_pattern_is_read(tmp_path: Path, files: list[str]) -> None:
    assert "from 3 files" in CliRunner().invoke(app, ["check", f"{tmp_path}/*.csv"]).stdout


@pytest.mark.parametrize("command", [["check", "nowhere.csv", "stray"], ["run", "stray"]])
def test_extra_argument_that_is_not_a_file_is_refused(command: list[str]) -> None:
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, "Got unexpected extra argument(s) (stray)" in result.stderr) == (2, True)
