"""What is known of base models: what training them costs, how much of an example they take, by which methods.

All of it is in `models.json`, with its sources and dates; `retune.data.cost.model_dates` says when a provider ends
them.
"""

import json
import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict

from retune.config import LOCAL_MODEL, ProviderKind
from retune.data.example.example import Method
from retune.training_lines.keys import COMPLETION_MODELS

# `-2025-04-14`, and the `-0125` of older models.
_DATE = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{4})$")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9-]")


class BaseModelFacts(BaseModel):
    """One base model.

    Attributes:
        usd_per_million_tokens: Price of training on a million tokens; None where it isn't known or billed otherwise.
        usd_per_hour: Price of an hour of training, where that is how it is billed.
        training_context: Most tokens of one example; providers cut off what is beyond. None where it isn't known.
        methods: What OpenAI's guides and price table say it can be trained by; Azure may offer more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd_per_million_tokens: float | None = None
    usd_per_hour: float | None = None
    training_context: int | None = None
    methods: tuple[Method, ...]


class PriceSource(BaseModel):
    """Where the prices are from.

    Attributes:
        as_of: When they were valid.
        source: Where they stand.
        source_per_hour: The same of prices by the hour.
    """

    model_config = ConfigDict(frozen=True)

    as_of: str
    source: str
    source_per_hour: str


class PublishedDates(BaseModel):
    """When a provider ends a base model; each is the first day without, as providers publish it. None: not known.

    Attributes:
        new_jobs_end: From this day on no new job is taken.
        new_jobs_end_not_before: The provider promises to take jobs until then, and names no day on which it stops.
        base_shutdown: From this day on the base model does not answer.
        fine_tuned_shutdown: The same of the models that were fine-tuned from it.
        source: Where it stands; None for the provider's own page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    new_jobs_end: date | None
    new_jobs_end_not_before: date | None = None
    base_shutdown: date | None
    fine_tuned_shutdown: date | None
    source: str | None = None


class ProviderDates(BaseModel):
    """When a provider ends its base models.

    Attributes:
        source: Where it stands.
        as_of: Day of the text that was read.
        checked: Day on which the table was compared with it.
        note: For whom it holds.
        new_jobs_end: From this day on the provider takes no new job on any model; None where it plans no such day.
        models: By the base model's full name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    as_of: date
    checked: date
    note: str
    new_jobs_end: date | None
    models: Mapping[str, PublishedDates]


class _Table(BaseModel):
    prices: PriceSource
    dates: dict[ProviderKind, ProviderDates]
    models: dict[str, BaseModelFacts]
    aliases: dict[str, str]


def base_model(model: str) -> str:
    """The base model that a name stands for.

    Resolves fine-tuned models of OpenAI (`ft:gpt-4o-mini-2024-07-18:acme::abc123`) and of Azure
    (`gpt-4o-mini-2024-07-18.ft-0e208cf33a6a466994aff31a08aba678`), names without a date, and Azure's `gpt-35-turbo`.
    """
    if model.startswith("ft:"):
        model = model.split(":")[1]
    model = model.partition(".ft-")[0]
    if model.startswith("gpt-35-"):
        model = model.replace("gpt-35-", "gpt-3.5-", 1)
    return _table().aliases.get(model, model)


def model_family(model: str) -> str:
    """The family that a base or fine-tuned model belongs to: `gpt-4.1-nano` of `gpt-4.1-nano-2025-04-14`.

    A fine-tuned model's family is its base's. `gpt-3.5-turbo-0125` and `gpt-4-0613` lose their short dates too.
    """
    return _DATE.sub("", base_model(model))


def limit_name(family: str) -> str:
    """The global concurrency limit of a model family in Prefect: `retune-gpt-4-1-nano` of `gpt-4.1-nano`."""
    return f"retune-{_NOT_IN_NAMES.sub('-', family)}"


def known_families() -> list[str]:
    """The families of all models that a price table or Retune's own server has, each once."""
    return list(dict.fromkeys(model_family(model) for model in (LOCAL_MODEL, *_table().models)))


def find_model(model: str) -> BaseModelFacts | None:
    """What is known of a base or fine-tuned model; None where it isn't in the table."""
    return _table().models.get(base_model(model))


def completes_prompts(model: str) -> bool:
    """Whether a base or fine-tuned model learns prompts and their completions, and no conversations."""
    return base_model(model) in COMPLETION_MODELS


def training_context(model: str) -> int | None:
    """Most tokens of one training example: providers cut off the end of longer ones. None where it isn't known."""
    facts = find_model(model)
    return None if facts is None else facts.training_context


def price_source() -> PriceSource:
    """Where the prices are from."""
    return _table().prices


def provider_dates(provider: ProviderKind) -> ProviderDates | None:
    """When a provider ends its base models; None for one that publishes no days, such as Retune's own server."""
    return _table().dates.get(provider)


def known_models() -> list[str]:
    """Full names of the base models in the table."""
    return list(_table().models)


@cache
def _table() -> _Table:
    text = resources.files("retune.data.cost").joinpath("models.json").read_text(encoding="utf-8")
    return _Table.model_validate(json.loads(text))
