"""The form that Prefect draws for the flow's parameter."""

import logging
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError
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
        ("TrainingConfig", "approve_above_usd", "never"),
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


def test_every_number_has_a_bound_and_none_may_be_left_empty() -> None:
    bounds = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    numbers = 0
    for name, section in definitions().items():
        for field, schema in section.get("properties", {}).items():
            choices = schema.get("anyOf", [schema])
            types = {choice.get("type") for choice in choices}
            for choice in choices:
                if choice.get("type") in {"integer", "number"}:
                    numbers += 1
                    assert bounds & choice.keys(), f"{name}.{field}"
                    assert "null" not in types, f"{name}.{field}"
    assert numbers > 10


def test_a_seed_may_be_left_to_the_provider() -> None:
    schema = definitions()["TrainingConfig"]["properties"]["seed"]
    assert (schema["default"], schema["anyOf"][0]["const"]) == (42, "auto")


def test_the_form_asks_for_the_name_of_a_key_and_not_for_a_key() -> None:
    schema = definitions()["ProviderConfig"]["properties"]["api_key_block"]
    assert "never the key itself" in schema["description"]
    with pytest.raises(ParameterTypeError):
        retrain.validate_parameters({"config": {"data": {"source": "a.csv"}, "provider": {"api_key_block": "sk-A_1"}}})


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
