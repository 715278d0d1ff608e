"""The form that Prefect draws for the flow's parameter."""

from typing import Any

from prefect.utilities.callables import parameter_schema

from flows.retrain import retrain
from retune.config import RetrainConfig


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


def test_choices_are_drop_downs() -> None:
    sections = definitions()
    assert sections["ExampleShape"]["enum"][0] == "auto"
    assert sections["SplitMethod"]["enum"] == ["stable", "random", "group", "column"]
    assert set(sections["DataConfig"]["required"]) == {"source"}


def test_the_form_s_own_values_are_a_configuration() -> None:
    config = RetrainConfig.model_validate({"data": {"source": "a.csv", "query": None, "trust_pickle": False}})
    assert retrain.validate_parameters({"config": config.model_dump(mode="json")})["config"] == config
