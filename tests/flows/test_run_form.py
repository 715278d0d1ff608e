"""The form that Prefect draws for the flow's parameter."""

import logging
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema

from flows.retrain import retrain
from retune.config import RetrainConfig
from retune.errors import SecretInSettingsError


def definitions() -> dict[str, Any]:
    return dict(parameter_schema(retrain.fn).model_dump()["definitions"])


def test_every_setting_explains_itself() -> None:
    for name, section in definitions().items():
        for field, schema in section.get("properties", {}).items():
            # A section is explained by its own fields.
            assert schema.get("description") or schema.get("$ref"), f"{name}.{field}"


def test_numbers_that_may_be_left_to_somebody_have_a_word_for_it() -> None:
    """The form can't leave a number empty: it would send an empty text."""
    sections = definitions()
    for section, field, word in [
        ("TrainingConfig", "max_cost_usd", "unlimited"),
        ("TrainingConfig", "poll_interval_seconds", "auto"),
        ("HyperparametersConfig", "n_epochs", "auto"),
        ("EvaluationConfig", "max_examples", "auto"),
    ]:
        schema = sections[section]["properties"][field]
        assert schema["default"] == word
        assert next(choice.get("const") for choice in schema["anyOf"]) == word


def test_the_form_knows_the_bounds_of_such_numbers() -> None:
    sections = definitions()
    for section, field, bounds in [
        ("TrainingConfig", "max_cost_usd", {"minimum": 0}),
        ("HyperparametersConfig", "n_epochs", {"minimum": 1, "maximum": 50}),
        ("HyperparametersConfig", "batch_size", {"minimum": 1, "maximum": 256}),
        ("HyperparametersConfig", "learning_rate_multiplier", {"exclusiveMinimum": 0}),
    ]:
        assert bounds.items() <= sections[section]["properties"][field]["anyOf"][1].items()


def test_choices_are_drop_downs() -> None:
    sections = definitions()
    assert sections["ExampleShape"]["enum"][0] == "auto"
    assert sections["SplitMethod"]["enum"] == ["stable", "random", "group", "column"]
    assert set(sections["DataConfig"]["required"]) == {"source"}


def test_the_form_s_own_values_are_a_configuration() -> None:
    config = RetrainConfig.model_validate({"data": {"source": "a.csv", "query": None, "trust_pickle": False}})
    assert retrain.validate_parameters({"config": config.model_dump(mode="json")})["config"] == config


def test_a_secret_in_the_form_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    source = "https://host/a.csv?sig=s3cret"
    with caplog.at_level(logging.DEBUG), pytest.raises(SecretInSettingsError) as caught:
        retrain.validate_parameters({"config": {"data": {"source": source}, "training": {"n_epochs": "x"}}})
    assert "s3cret" not in f"{caught.value} {caplog.text}"
