"""The body of POST /v1/fine_tuning/jobs."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from retune.server.api.request_fields import Metadata, PlainText, RequestModel, shown
from retune.trainers.base import RequestedHyperparameters


def _auto_or_count(high: int) -> PlainValidator:
    def check(value: Any) -> Any:
        if value is None or value == "auto":
            return "auto"
        if type(value) is int and 1 <= value <= high:
            return value
        raise ValueError(f"expected 'auto' or an integer from 1 to {high}, but got {shown(value)}")

    return PlainValidator(check)


def _auto_or_multiplier(value: Any) -> Any:
    if value is None or value == "auto":
        return "auto"
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise ValueError(f"expected 'auto' or a number above 0, but got {shown(value)}")


def _supervised_only(value: Any) -> Any:
    if value == "supervised":
        return value
    if value in ("dpo", "reinforcement"):  # a set would ask for its hash, which a list has not
        raise PydanticCustomError(
            "unsupported_value",
            "the training method '{method}' is not supported by this server; use 'supervised'",
            {"method": value},
        )
    raise ValueError(f"expected 'supervised', but got {shown(value)}")


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
    dpo: dict[str, Any] | None = None
    reinforcement: dict[str, Any] | None = None


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
    """A fine-tuning job as a client asks for it."""

    model: PlainText = Field(min_length=1)
    training_file: PlainText = Field(min_length=1)
    validation_file: PlainText | None = None
    suffix: str | None = Field(None, min_length=1, max_length=64)
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    method: MethodRequest | None = None
    hyperparameters: HyperparametersRequest | None = None
    integrations: list[IntegrationRequest] | None = Field(None, max_length=5)
    metadata: Metadata | None = None

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
