from pathlib import Path
from typing import Any

import pytest

from retune.config import DataConfig, RetrainConfig
from retune.config_file import load_config, parse_config
from retune.errors import ConfigError, SecretInSettingsError

DATA = {"source": "tickets.csv", "user_column": "message", "assistant_column": "answer"}


def problems(settings: dict[str, Any]) -> str:
    with pytest.raises((ConfigError, SecretInSettingsError)) as caught:
        parse_config(settings)
    return caught.value.message


def test_what_is_neither_unlimited_nor_a_number_takes_one_line() -> None:
    said = "training.max_cost_usd: must be unlimited or a number; found 'cheap'."
    assert problems({"data": DATA, "training": {"max_cost_usd": "cheap"}}) == said


@pytest.mark.parametrize(
    "source",
    [
        "postgresql://me:s3cret@host/db",
        "postgresql+psycopg://me:a@s3cret@host/db",
        "https://me:s3cret@host/data.csv",
        "s3://key:s3cret@bucket/data.csv",
    ],
)
def test_a_password_in_the_source_is_refused_and_not_repeated(source: str) -> None:
    said = problems({"data": {"source": source}})
    assert "source holds a password; write ${NAME} in its place" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("data/tickets.csv.gz", "tickets"),
        ("data/", "data"),
        ("data/part-*.parquet", "part"),
        ("s3://bucket/tickets.jsonl.zst", "tickets"),
        ("postgresql://me:${PASSWORD}@host/desk", "desk"),
        ("https://host", "host"),
        ("*.csv", "data"),
    ],
)
def test_a_source_has_a_short_name(source: str, label: str) -> None:
    assert parse_config({"data": {"source": source}}).data.label == label


def test_a_number_of_examples_is_a_size_of_a_split() -> None:
    split = parse_config({"data": DATA, "split": {"validation": 100, "test": 0.2}}).split
    assert (split.validation, split.test) == (100, 0.2)


def test_a_source_is_enough() -> None:
    config = parse_config({"data": {"source": "chat.jsonl"}})
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
        ({"data": {"source": "a.csv", "user_column": "q"}}, "assistant_column is missing"),
        ({"data": DATA, "split": {"test": 0.9}}, "validation and test together must leave something to train on"),
        ({"data": DATA, "split": {"test": 1.5}}, "test must be a fraction below 1 or a whole number of examples"),
        ({"data": DATA, "split": {"test": -1}}, "split.test: Input should be greater than or equal to 0; found -1."),
        ({"data": DATA, "split": {"method": "group"}}, "the method group needs column"),
        ({"data": DATA, "split": {"column": "part"}}, "column is for the methods group and column, not for stable"),
        ({"data": DATA, "split": {"stratify": True}}, "stratify is for the method random, not for stable"),
        ({"data": {**DATA, "user_template": "{a}"}}, "user_column and user_template exclude each other"),
        ({"data": {"source": ""}}, "data.source"),
        ({"data": {"source": "a.csv", "shape": "tables"}}, "data.shape"),
        ({"data": DATA, "training": {"max_cost_usd": -1}}, "max_cost_usd must be unlimited or at least 0, not -1"),
        (
            {"data": DATA, "training": {"approve_above_usd": -1}},
            "approve_above_usd must be never or at least 0, not -1",
        ),
        ({"data": DATA, "training": {"hyperparameters": {"n_epochs": 51}}}, "between 1 and 50, not 51"),
        ({"data": DATA, "training": {"suffix": "x" * 65}}, "training.suffix"),
        ({"data": DATA, "evaluation": {"max_examples": 0}}, "max_examples must be auto or at least 1, not 0"),
    ],
)
def test_what_is_out_of_bounds_is_named_with_what_was_found(settings: dict[str, Any], said: str) -> None:
    assert said in problems(settings)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("n_epochs", "abc", "must be auto or a whole number; found 'abc'."),
        ("batch_size", 1.5, "must be auto or a whole number; found 1.5."),
        ("learning_rate_multiplier", "fast", "must be auto or a number; found 'fast'."),
        ("learning_rate_multiplier", float("nan"), "must be auto or a number; found nan."),
        ("learning_rate_multiplier", float("inf"), "must be auto or a number; found inf."),
    ],
)
def test_what_is_neither_auto_nor_a_number_takes_one_line(name: str, value: Any, said: str) -> None:
    settings = {"data": DATA, "training": {"hyperparameters": {name: value}}}
    assert problems(settings) == f"training.hyperparameters.{name}: {said}"


@pytest.mark.parametrize(
    ("section", "name"), [("split", "validation"), ("evaluation", "temperature"), ("provider", "timeout_seconds")]
)
def test_a_number_that_is_not_finite_is_refused(section: str, name: str) -> None:
    assert f"{section}.{name}: Input should be a finite number; found nan." in problems(
        {"data": DATA, section: {name: float("nan")}}
    )


def test_a_problem_of_a_section_does_not_repeat_the_section() -> None:
    said = problems({"data": DATA, "training": {"hyperparameters": {"n_epochs": 51, "batch_size": 7}}})
    assert said == "training.hyperparameters: n_epochs must be auto or between 1 and 50, not 51."


# The command line names every section, also those of which no flag was given.
FLAGS = {
    "data": {"source": "tickets.csv", "system": None},
    "split": {"seed": None},
    "training": {"model": None, "hyperparameters": {"n_epochs": None}},
    "provider": {"base_url": None},
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("split: random", "split: must be a mapping of settings; found 'random'."),
        ("provider: https://host/v1", "provider: must be a mapping of settings; found 'https://host/v1'."),
        ("training: gpt-4o", "training: must be a mapping of settings; found 'gpt-4o'."),
        ("training: {hyperparameters: [3]}", "training.hyperparameters: must be a mapping of settings; found [3]."),
        ("data: other.csv", "data: must be a mapping of settings; found 'other.csv'."),
        ("split: []", "split: must be a mapping of settings; found []."),
    ],
)
def test_a_section_that_is_no_mapping_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "retune.yaml"
    path.write_text(text)
    with pytest.raises((ConfigError, SecretInSettingsError)) as caught:
        load_config(path, FLAGS)
    assert caught.value.message == said


@pytest.mark.parametrize("flags", [FLAGS, {"data": FLAGS["data"]}])
def test_an_empty_section_means_defaults(tmp_path: Path, flags: dict[str, Any]) -> None:
    path = tmp_path / "retune.yaml"
    path.write_text("data:\nsplit:\ntraining:\n  hyperparameters:\n")
    assert load_config(path, flags) == parse_config({"data": {"source": "tickets.csv"}})


def test_flags_go_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "retune.yaml"
    path.write_text("data: {source: tickets.csv}\nsplit: {seed: 1, test: 0.2}\ntraining: {suffix: from-file}\n")
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


@pytest.mark.parametrize("setting", ["validation_source", "test_source"])
def test_a_password_in_the_source_of_a_split_is_refused(setting: str) -> None:
    with pytest.raises(SecretInSettingsError, match=f"{setting} holds a password"):
        DataConfig(source="a.csv", **{setting: "https://me:secret@example.com/b.csv"})
