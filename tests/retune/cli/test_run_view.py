import logging
import sys
from pathlib import Path

import pytest

from retune.cli.run_view import RunView, chat_command
from retune.cli.terminal import print_table
from retune.config import ProviderConfig
from retune.config_file import parse_config
from retune.provider.endpoint import require_endpoint


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "retune"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))


@pytest.mark.usefixtures("on_path")
@pytest.mark.parametrize(
    ("provider", "command"),
    [
        (ProviderConfig(), "retune chat ft:m::a"),
        (ProviderConfig(base_url="http://[::1]:1", is_embedded=True), "retune chat ft:m::a"),
        (ProviderConfig(base_url="http://host/v1"), "retune chat ft:m::a --base-url http://host/v1"),
    ],
)
def test_the_command_finds_the_model(provider: ProviderConfig, command: str) -> None:
    assert chat_command("ft:m::a", provider) == command


def test_the_command_can_be_copied_where_retune_is_not_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / ".venv/bin/retune"), "run"])
    assert chat_command("ft:m::a", ProviderConfig()) == ".venv/bin/retune chat ft:m::a"


@pytest.mark.parametrize(
    ("address", "is_said"), [("https://api.openai.com/v1", True), ("http://127.0.0.1:8123/v1", False)]
)
def test_how_long_the_model_will_live_is_said_first(
    address: str, is_said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    config = parse_config({"data": {"source": "t.csv"}, "training": {"model": "gpt-4.1-mini"}})
    RunView().show_header(config, require_endpoint(ProviderConfig(base_url=address)))
    assert ("2027-01-14" in capsys.readouterr().out) is is_said


def test_a_table_in_a_pipe_is_not_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    long_name = "ft:gpt-4o-mini-2024-07-18:retune:" + "x" * 200
    print_table(["model"], [[long_name], ["[bold]as it is[/bold]"]])
    printed = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in printed] == ["model", long_name, "[bold]as it is[/bold]"]


@pytest.mark.parametrize(("total", "shown"), [(12, "MB"), (None, "1,003 MB")])
def test_what_is_read_is_shown_in_its_unit(total: int | None, shown: str) -> None:
    view = RunView()
    fields = {"step": "load", "done": 1_003, "total": total, "unit": "MB", "figures": {}}
    view.emit(logging.makeLogRecord(fields))
    (bar,) = view._bars.tasks
    assert (bar.description, bar.completed, bar.total, bar.fields["figures"]) == ("load", 1_003, total, shown)
