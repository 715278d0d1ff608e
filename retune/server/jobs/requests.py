"""The body of POST /v1/fine_tuning/jobs."""

import math
import re
from typing import Annotated, Final, Literal, Self

from pydantic import AliasChoices, Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

from retune.server.api.request_bodies import Metadata, PlainText, RequestModel, shown
from retune.trainers.base import RequestedHyperparameters
from retune.training_lines.keys import JsonObject

# Azure's training tiers by name, and by the numbers that LiteLLM and older examples of Azure's send.
_TRAINING_TYPES: Final = {"standard": 0, "globalstandard": 1, "global": 1, "developer": 2, "developertier": 2}


def _auto_or_count(high: int) -> PlainValidator:
    def check(value: object) -> object:
        if value is None or value == "auto":
            return "auto"
        if type(value) is not int:
            raise PydanticCustomError("wrong_type", "expected {expected}", {"expected": "one of 'auto' or integer"})
        if value < 1:
            raise PydanticKnownError("greater_than_equal", {"ge": 1})
        if value > high:
            raise PydanticKnownError("less_than_equal", {"le": high})
        return value

    return PlainValidator(check)


def _auto_or_multiplier(value: object) -> object:
    if value is None or value == "auto":
        return "auto"
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise PydanticCustomError("wrong_type", "expected {expected}", {"expected": "one of 'auto' or decimal"})
    if not 0 < value < math.inf:
        raise PydanticKnownError("greater_than", {"gt": 0.0})
    return float(value)


def _supervised_only(value: object) -> object:
    if value == "supervised":
        return value
    if value in ("dpo", "reinforcement"):  # a set would ask for its hash, which a list has not
        raise PydanticCustomError(
            "unsupported_value",
            "the training method '{method}' is not supported by this server; use 'supervised'",
            {"method": value},
        )
    raise ValueError(f"expected 'supervised', but got {shown(value)}")


def _check_training_type(value: object) -> object:
    if value is None or (type(value) is int and value in _TRAINING_TYPES.values()):
        return value
    if isinstance(value, str) and re.sub("[^a-z]", "", value.lower()) in _TRAINING_TYPES:
        return value
    names = ", ".join(f"'{name}'" for name in ("Standard", "GlobalStandard", "Developer"))
    raise ValueError(f"expected one of {names}, or Azure's number of one, but got {shown(value)}")


_training_type = PlainValidator(_check_training_type)


class HyperparametersRequest(RequestModel):
    """Numbers within the published bounds, or `auto`."""

    n_epochs: Annotated[Literal["auto"] | int, _auto_or_count(50)] = "auto"
    batch_size: Annotated[Literal["auto"] | int, _auto_or_count(256)] = "auto"
    learning_rate_multiplier: Annotated[Literal["auto"] | float, PlainValidator(_auto_or_multiplier)] = "auto"


class SupervisedRequest(RequestModel):
    """Settings of supervised training."""

    hyperparameters: HyperparametersRequest | None = None


class MethodRequest(RequestModel):
    """How to train; the other methods' settings are read so that they can be refused by the method's name."""

    type: Annotated[Literal["supervised"], PlainValidator(_supervised_only)]
    supervised: SupervisedRequest | None = None
    dpo: JsonObject | None = None
    reinforcement: JsonObject | None = None


class WandbRequest(RequestModel):
    """Settings of a Weights & Biases run."""

    project: PlainText
    name: PlainText | None = None
    entity: PlainText | None = None
    tags: list[Annotated[str, Field(max_length=64)]] | None = Field(None, max_length=50)


class IntegrationRequest(RequestModel):
    """A place to report metrics to."""

    type: Literal["wandb"]
    wandb: WandbRequest


class CreateJobRequest(RequestModel):
    """The body of POST /v1/fine_tuning/jobs.

    Attributes:
        training_type: Where Azure trains, as its clients choose it, by number or by name; it changes nothing here.
    """

    model: PlainText = Field(min_length=1)
    training_file: PlainText = Field(min_length=1)
    validation_file: PlainText | None = None
    suffix: str | None = Field(None, min_length=1, max_length=64)
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    method: MethodRequest | None = None
    hyperparameters: HyperparametersRequest | None = None
    integrations: list[IntegrationRequest] | None = Field(None, max_length=5)
    metadata: Metadata | None = None
    training_type: Annotated[
        int | str | None,
        # Not in its hash: a request is what it asks of this server.
        Field(validation_alias=AliasChoices("trainingType", "training_type"), exclude=True),
        _training_type,
    ] = None

    @model_validator(mode="after")
    def _hyperparameters_come_once(self) -> Self:
        inside = self._of_method()
        if inside and self.hyperparameters and inside != self.hyperparameters:
            raise ValueError("'hyperparameters' and 'method.supervised.hyperparameters' differ; give the latter alone")
        return self

    def requested_hyperparameters(self) -> RequestedHyperparameters:
        """The hyperparameters, wherever the request has them."""
        chosen = self._of_method() or self.hyperparameters or HyperparametersRequest()
        return RequestedHyperparameters(**chosen.model_dump())

    def _of_method(self) -> HyperparametersRequest | None:
        return self.method.supervised.hyperparameters if self.method and self.method.supervised else None
