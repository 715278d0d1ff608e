"""The body of POST /v1/fine_tuning/jobs."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from retune.trainers.base import RequestedHyperparameters

_MAX_METADATA_PAIRS = 16


def _auto_or_count(high: int) -> PlainValidator:
    def check(value: Any) -> Any:
        if value is None or value == "auto":
            return "auto"
        if type(value) is int and 1 <= value <= high:
            return value
        raise ValueError(f"expected 'auto' or an integer from 1 to {high}, but got {value!r}")

    return PlainValidator(check)


def _auto_or_multiplier(value: Any) -> Any:
    if value is None or value == "auto":
        return "auto"
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise ValueError(f"expected 'auto' or a number above 0, but got {value!r}")


def _supervised_only(value: Any) -> Any:
    if value == "supervised":
        return value
    if value in ("dpo", "reinforcement"):  # a set would ask for its hash, which a list has not
        raise PydanticCustomError(
            "unsupported_value",
            "the training method '{method}' is not supported by this server; use 'supervised'",
            {"method": value},
        )
    raise ValueError(f"expected 'supervised', but got {value!r}")


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class HyperparametersRequest(_Request):
    """Numbers within the published bounds, or `auto`."""

    n_epochs: Annotated[Literal["auto"] | int, _auto_or_count(50)] = "auto"
    batch_size: Annotated[Literal["auto"] | int, _auto_or_count(256)] = "auto"
    learning_rate_multiplier: Annotated[Literal["auto"] | float, PlainValidator(_auto_or_multiplier)] = "auto"


class SupervisedRequest(_Request):
    """Settings of supervised training."""

    hyperparameters: HyperparametersRequest | None = None


class MethodRequest(_Request):
    """How to train; the other methods' settings are read so that they can be refused by the method's name."""

    type: Annotated[Literal["supervised"], PlainValidator(_supervised_only)]
    supervised: SupervisedRequest | None = None
    dpo: dict[str, Any] | None = None
    reinforcement: dict[str, Any] | None = None


class WandbRequest(_Request):
    """Settings of a Weights & Biases run."""

    project: str
    name: str | None = None
    entity: str | None = None
    tags: list[Annotated[str, Field(max_length=64)]] | None = Field(None, max_length=50)


class IntegrationRequest(_Request):
    """A place to report metrics to."""

    type: Literal["wandb"]
    wandb: WandbRequest


class CreateJobRequest(_Request):
    """A fine-tuning job as a client asks for it."""

    model: str = Field(min_length=1)
    training_file: str = Field(min_length=1)
    validation_file: str | None = None
    suffix: str | None = Field(None, min_length=1, max_length=64)
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    method: MethodRequest | None = None
    hyperparameters: HyperparametersRequest | None = None
    integrations: list[IntegrationRequest] | None = Field(None, max_length=5)
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None = Field(
        None, max_length=_MAX_METADATA_PAIRS
    )

    @model_validator(mode="after")
    def _hyperparameters_come_once(self) -> Self:
        inside = self.method.supervised.hyperparameters if self.method and self.method.supervised else None
        if inside and self.hyperparameters and inside != self.hyperparameters:
            raise ValueError("'hyperparameters' and 'method.supervised.hyperparameters' differ; give the latter alone")
        return self

    def requested_hyperparameters(self) -> RequestedHyperparameters:
        """The hyperparameters, wherever the request has them."""
        inside = self.method.supervised.hyperparameters if self.method and self.method.supervised else None
        chosen = inside or self.hyperparameters or HyperparametersRequest()
        return RequestedHyperparameters(**chosen.model_dump())
