from pathlib import Path
from typing import Any

import pytest

from retune.config import RetrainConfig, load_config, parse_config
from retune.errors import ConfigError

DATA = {"path": "tickets.csv", "user_column": "message", "assistant_column": "answer"}


def problems(settings: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(settings)
    return caught.value.message


def test_a_path_is_enough() -> None:
    config = parse_config({"data": {"path": "chat.jsonl"}})
    assert config.training.hyperparameters.n_epochs == "auto"
    assert config.training.model == "baseline-text"


def test_it_survives_the_trip_through_json() -> None:
    config = parse_config({"data": DATA, "training": {"hyperparameters": {"n_epochs": 3}}})
    assert RetrainConfig.model_validate_json(config.model_dump_json()) == config


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    said = problems({"data": DATA, "training": {"modle": "gpt-4.1"}, "splits": {}})
    assert "training.modle: unknown setting; did you mean model?" in said
    assert "splits: unknown setting; did you mean split?" in said


def test_an_unknown_key_that_is_near_to_nothing_shows_what_there_is() -> None:
    assert "known here: method, validation, test, seed" in problems({"data": DATA, "split": {"xyzzy": 1}})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "data: required, but missing."),
        ({"data": {"path": "a.csv", "user_column": "q"}}, "assistant_column is missing"),
        ({"data": DATA, "split": {"test": 0.9}}, "split.test: Input should be less than or equal to 0.5; found 0.9."),
        ({"data": DATA, "training": {"hyperparameters": {"n_epochs": 51}}}, "between 1 and 50, not 51"),
        ({"data": DATA, "training": {"hyperparameters": {"n_epochs": "many"}}}, "found 'many'"),
        ({"data": DATA, "training": {"suffix": "x" * 65}}, "training.suffix"),
        ({"data": DATA, "evaluation": {"max_examples": 0}}, "max_examples must be auto or at least 1, not 0"),
    ],
)
def test_what_is_out_of_bounds_is_named_with_what_was_found(settings: dict[str, Any], said: str) -> None:
    assert said in problems(settings)


def test_flags_go_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "retune.yaml"
    path.write_text("data: {path: tickets.csv}\nsplit: {seed: 1, test: 0.2}\ntraining: {suffix: from-file}\n")
    config = load_config(path, {"split": {"seed": 7, "test": None}, "training": {"suffix": None}})
    assert (config.split.seed, config.split.test, config.training.suffix) == (7, 0.2, "from-file")


@pytest.mark.parametrize(
    ("text", "said"), [("- a\n- b\n", "must hold a mapping of settings, not list"), ("a: [", "is not valid YAML")]
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "retune.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_config(path, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file or directory"):
        load_config(tmp_path / "nowhere.yaml", {})
