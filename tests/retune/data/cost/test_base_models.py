import json
from importlib import resources

import pytest

from retune.data.cost.base_models import (
    base_model,
    find_model,
    known_families,
    limit_name,
    model_family,
    price_source,
    training_context,
)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc123", "gpt-4o-mini-2024-07-18"),
        ("ft:gpt-4o-mini-2024-07-18:acme:tickets:abc123:ckpt-step-90", "gpt-4o-mini-2024-07-18"),
        ("gpt-4o-mini-2024-07-18.ft-0e208cf33a6a466994aff31a08aba678", "gpt-4o-mini-2024-07-18"),
        ("gpt-35-turbo-0125.ft-abc-tickets", "gpt-3.5-turbo-0125"),
        ("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14"),
        ("ft:baseline-text:me::abc", "baseline-text"),
        ("unknown", "unknown"),
    ],
)
def test_names_resolve_to_their_base(name: str, base: str) -> None:
    assert base_model(name) == base


@pytest.mark.parametrize(
    ("model", "context"),
    [
        ("gpt-4o-2024-08-06", 65_536),
        ("ft:gpt-4.1-nano-2025-04-14:acme::abc123", 32_768),
        ("gpt-3.5-turbo-0613", 4_096),
        ("gpt-3.5-turbo", 16_385),
        ("babbage-002", None),
        ("baseline-text", None),
    ],
)
def test_context_in_training(model: str, context: int | None) -> None:
    assert training_context(model) == context


def test_methods_are_those_of_the_guides() -> None:
    both, reasoning = find_model("gpt-4.1"), find_model("o4-mini")
    assert both is not None
    assert both.methods == ("supervised", "dpo")
    assert reasoning is not None
    assert reasoning.methods == ("reinforcement",)
    assert find_model("baseline-text") is None


def test_the_table_says_where_everything_is_from() -> None:
    table = json.loads(resources.files("retune.data.cost").joinpath("models.json").read_text(encoding="utf-8"))
    assert table["checked"] >= "2026-11-22"
    assert price_source().source.startswith("https://developers.openai.com/")
    assert table["contexts"]["source"]
    assert set(table["aliases"].values()) <= table["models"].keys()


@pytest.mark.parametrize(
    ("model", "family", "limit"),
    [
        ("gpt-4.1-nano-2025-04-14", "gpt-4.1-nano", "retune-gpt-4-1-nano"),
        ("gpt-4.1-nano", "gpt-4.1-nano", "retune-gpt-4-1-nano"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc123", "gpt-4o-mini", "retune-gpt-4o-mini"),
        ("gpt-35-turbo-0125.ft-abc-tickets", "gpt-3.5-turbo", "retune-gpt-3-5-turbo"),
        ("davinci-002", "davinci-002", "retune-davinci-002"),
        ("ft:baseline-text:me::abc", "baseline-text", "retune-baseline-text"),
        ("org/Model 7B", "org/Model 7B", "retune-org-Model-7B"),
    ],
)
def test_models_have_a_family_and_it_a_limit(model: str, family: str, limit: str) -> None:
    assert model_family(model) == family
    assert limit_name(family) == limit


def test_every_known_model_is_of_a_known_family() -> None:
    families = known_families()
    assert len(set(families)) == len(families)
    assert {"baseline-text", "gpt-4.1", "gpt-3.5-turbo"} <= set(families)
    assert len({limit_name(family) for family in families}) == len(families)
