"""Every flag of `retune run` is a setting of the configuration."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from retune.cli import run as command
from retune.cli.data_options import place_overrides
from retune.config import RetrainConfig
from retune.config_file import parse_config


@pytest.mark.parametrize("place", command._PLACES.values())
def test_every_flag_has_its_place(place: str) -> None:
    section: Any = RetrainConfig
    for name in place.split("."):
        assert issubclass(section, BaseModel)
        section = section.model_fields[name].annotation


def test_no_flag_is_forgotten() -> None:
    parameters = set(inspect.signature(command.run).parameters)
    assert parameters == {*command._PLACES, "config", "verbose", "context"}


def test_every_setting_of_data_and_split_has_a_flag() -> None:
    settings = RetrainConfig.model_fields
    for section in ("data", "split"):
        model = settings[section].annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        assert set(_settings(model, section)) <= set(command._PLACES.values())


def _settings(model: type[BaseModel], section: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        place, kind = f"{section}.{name}", field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _settings(kind, place)
        else:
            yield place


def test_what_is_flagged_is_configured() -> None:
    flags = dict.fromkeys(command._PLACES) | {"data": "a.csv", "validation": 100.0, "max_cost_usd": 2, "n_epochs": 3}
    overrides = place_overrides(flags, command._PLACES)
    given = {
        "data": {"source": overrides["data"]["source"]},
        "split": {"validation": overrides["split"]["validation"]},
        "training": {
            "max_cost_usd": overrides["training"]["max_cost_usd"],
            "hyperparameters": {"n_epochs": overrides["training"]["hyperparameters"]["n_epochs"]},
        },
    }
    config = parse_config(given)
    assert (config.split.validation, config.training.max_cost_usd) == (100, 2)
    assert config.training.hyperparameters.n_epochs == 3
