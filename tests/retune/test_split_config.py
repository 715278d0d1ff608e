from typing import Any

import pytest
from pydantic import ValidationError

from retune.config import SplitConfig, SplitMethod


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 0.5, "test": 0.5}, "validation and test together must leave something to train on"),
        ({"validation": 10.5}, "validation must be a fraction below 1 or a whole number of examples, not 10.5"),
        ({"validation": -0.1}, "greater than or equal to 0"),
        ({"test": float("nan")}, "finite number"),
        ({"method": "group"}, "the method group needs column, the name of a column"),
        ({"method": "column"}, "the method column needs column, the name of a column"),
        ({"method": "column", "column": ""}, "at least 1 character"),
        ({"method": "random", "column": "part"}, "column is for the methods group and column, not for random"),
        ({"method": "group", "column": "user", "stratify": True}, "stratify is for the method random, not for group"),
        ({"stratify_column": "label"}, "stratify is for the method random, not for stable"),
        ({"method": "random", "stratify_column": ""}, "at least 1 character"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SplitConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"validation": 0, "test": 0},
        {"validation": 500, "test": 0.99},
        {"validation": 500, "test": 1000},
        {"method": SplitMethod.RANDOM, "stratify_column": "label"},
        # The column alone says how much is held out.
        {"method": SplitMethod.COLUMN, "column": "part", "validation": 0.5, "test": 0.5},
    ],
)
def test_settings_survive_being_written_down(settings: dict[str, Any]) -> None:
    config = SplitConfig(**settings)
    assert SplitConfig.model_validate_json(config.model_dump_json()) == config
