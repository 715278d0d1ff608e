"""The flags of `retune run` and `retune check` are settings of `RetrainConfig`, described there alone."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from retune.cli.app import app
from retune.cli.check import CheckCommand
from retune.cli.run import RunCommand, run
from retune.cli.setting_flags import SettingsCommand, given_settings
from retune.config import RetrainConfig
from retune.errors import ConfigError

COMMANDS = {"run": RunCommand, "check": CheckCommand}


def command(name: str) -> SettingsCommand:
    group: Any = typer.main.get_command(app)
    found = group.get_command(typer.Context(group), name)
    assert isinstance(found, SettingsCommand)
    return found


def parameters(name: str) -> dict[str, Any]:
    """A command's settings by their place."""
    return {one.name.replace("__", "."): one for one in command(name)._settings if one.name != "config"}


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def given(*words: str) -> RetrainConfig:
    """The settings that `retune run` makes of its flags."""
    found: list[RetrainConfig] = []

    def keep(context: typer.Context) -> None:
        found.append(given_settings(context).load())

    one = typer.Typer()
    one.command(cls=RunCommand)(keep)
    result = CliRunner().invoke(one, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return found[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_has_the_description_of_its_setting(name: str) -> None:
    described = {place: field.description for place, field in settings(RetrainConfig)}

    for place, parameter in parameters(name).items():
        assert parameter.help.startswith(described[place])


@pytest.mark.parametrize("name", COMMANDS)
def test_no_two_flags_have_the_same_name(name: str) -> None:
    context = typer.Context(command(name))
    flags = [flag for one in command(name).get_params(context) for flag in (*one.opts, *one.secondary_opts)]

    assert sorted(flags) == sorted(set(flags))


def test_every_setting_of_data_and_split_has_a_flag_of_both_commands() -> None:
    wanted = {place for place, _ in settings(RetrainConfig) if place.startswith(("data.", "split."))}

    assert wanted <= parameters("run").keys()
    assert wanted <= parameters("check").keys()


@pytest.mark.parametrize(
    ("flag", "default"), [("--max-rows", "20,000,000"), ("--test", "0.1"), ("--model", "baseline-text")]
)
def test_help_shows_the_default_of_the_settings(flag: str, default: str) -> None:
    (parameter,) = [one for one in parameters("run").values() if flag in one.opts]

    assert parameter.help.endswith(f"Default: {default}.")


def test_flags_become_settings(tmp_path: Path) -> None:
    words = ["-d", "a.csv", "--validation", "100", "--max-cost-usd", "2", "--n-epochs", "3", "--no-header"]

    config = given(*words, "--month-first", "--format", "tsv", "-o", str(tmp_path), "--seed", "auto")

    assert (config.data.source, config.data.no_header, config.data.format) == ("a.csv", True, "tsv")
    assert config.data.message_rows.day_first is False
    assert (config.split.validation, config.training.max_cost_usd, config.training.seed) == (100, 2, "auto")
    assert config.training.hyperparameters.n_epochs == 3
    assert config.output_dir == tmp_path


def test_flags_override_the_file_and_leave_the_rest_of_it(tmp_path: Path) -> None:
    file = tmp_path / "retrain.yaml"
    file.write_text("data: {source: a.csv, sheet: May}\nsplit: {seed: 7}\n", encoding="utf-8")

    config = given("--config", str(file), "--split-seed", "8")

    assert (config.data.source, config.data.sheet, config.split.seed) == ("a.csv", "May", 8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--n-epochs", "many"], "training.hyperparameters.n_epochs: must be auto or a whole number; found 'many'."),
        (["--n-epochs", "51"], "n_epochs must be auto or between 1 and 50, not 51"),
        (["--max-rows", "0"], "data.limits.max_rows: Input should be greater than or equal to 1"),
    ],
)
def test_bounds_are_those_of_the_settings(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        given("-d", "a.csv", *words)

    assert message in str(refused.value)


@pytest.mark.parametrize("words", [["--max-rows", "many"], ["--format", "doc"]])
def test_a_value_of_another_type_is_refused_as_an_argument(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["run", "-d", "a.csv", *words])

    assert (result.exit_code, words[0] in result.stderr) == (2, True)


def test_a_command_declares_only_what_is_not_a_setting() -> None:
    assert set(inspect.signature(run).parameters) == {"context", "verbose"}
