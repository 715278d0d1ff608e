import re
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from retune.data.cost.estimate import (
    CostEstimate,
    auto_n_epochs,
    describe_cost,
    estimate_training_cost,
    format_usd,
    price_of_tokens,
    refuse_if_too_expensive,
)
from retune.errors import ConfigError

MODEL = "gpt-4o-mini-2024-07-18"
HUNDRED = np.full(100, 5_000, np.uint32)


def estimate(
    model: str = MODEL, tokens: npt.NDArray[Any] = HUNDRED, n_epochs: int | Literal["auto"] = 4, **beside: Any
) -> CostEstimate:
    return estimate_training_cost(model, tokens, n_epochs, **beside)


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        (MODEL, 6.0),
        ("ft:gpt-4.1-mini-2025-04-14:acme::abc123", 10.0),
        ("gpt-4.1-nano-2025-04-14.ft-abc", 3.0),
        ("babbage-002", 0.8),
    ],
)
def test_cost_is_price_by_tokens_by_epochs(model: str, usd: float) -> None:
    cost = estimate(model)
    assert cost.usd == pytest.approx(usd)
    assert (cost.training_tokens, cost.n_epochs, cost.is_auto, cost.note) == (500_000, 4, False, None)
    assert cost.prices_source.startswith("https://developers.openai.com/")
    assert price_of_tokens(model, 2_000_000) == pytest.approx(usd)


def test_only_what_is_trained_on_is_billed() -> None:
    tokens = np.array([70_000, 65_536, 1], np.uint32)
    assert estimate(tokens=tokens).training_tokens == 2 * 65_536 + 1
    assert estimate("babbage-002", tokens).training_tokens == 135_537
    assert estimate(tokens=np.full(100_000, 60_000, np.uint32)).training_tokens == 6_000_000_000


def test_epochs_are_resolved() -> None:
    cost = estimate(n_epochs="auto")
    assert (cost.n_epochs, cost.is_auto) == (3, True)
    assert describe_cost(cost) == (
        "500,000 tokens × 3 epochs (the provider's choice by its published rule) × $3.00 per million tokens "
        "(prices of 2026-10)."
    )
    assert describe_cost(estimate(n_epochs=1)).startswith("500,000 tokens × 1 epoch × $3.00")


@pytest.mark.parametrize(
    ("n_examples", "epochs"),
    [(0, 25), (1, 25), (4, 25), (10, 10), (33, 3), (34, 3), (100, 3), (101, 3), (8333, 3), (8334, 2), (30_000, 1)],
)
def test_auto_epochs_are_those_of_real_jobs(n_examples: int, epochs: int) -> None:
    assert auto_n_epochs(n_examples) == epochs


@pytest.mark.parametrize(
    ("beside", "usd", "note"),
    [
        ({"model": "o9"}, None, "No training price of o9 is known."),
        (
            {"model": "o4-mini", "method": "reinforcement"},
            None,
            (
                "Reinforcement training is billed by the time that it takes, $100.00 an hour, and by the tokens of "
                "model graders."
            ),
        ),
        (
            {"model": "gpt-4.1-nano", "method": "dpo"},
            3.0,
            "Of a preference pair, the conversation and both answers count once each.",
        ),
        ({"has_images": True}, 6.0, "Tokens of images are estimates."),
        (
            {"provider": "azure"},
            6.0,
            "The price is OpenAI's; Azure's depends on the region and on the kind of training.",
        ),
        ({"provider": "retune", "model": "baseline-text"}, 0.0, "Retune's own server bills nothing."),
        ({"provider": "other"}, None, "No prices of this provider are known."),
    ],
)
def test_reasons_for_an_uncertain_price_are_named(beside: dict[str, Any], usd: float | None, note: str) -> None:
    cost = estimate(**beside)
    assert (cost.usd, cost.note) == (None if usd is None else pytest.approx(usd), note)
    assert note in describe_cost(cost)


def test_run_within_its_cost_limit_continues() -> None:
    refuse_if_too_expensive(estimate(), 6.0)
    refuse_if_too_expensive(estimate(), "unlimited")
    refuse_if_too_expensive(estimate("o9"), "unlimited")
    refuse_if_too_expensive(estimate("baseline-text"), 0)
    refuse_if_too_expensive(estimate(provider="retune"), 0)
    refuse_if_too_expensive(estimate("ft:baseline-text::abc", provider="other"), 0)


def test_a_server_on_this_machine_may_pass_on_to_one_that_bills() -> None:
    cost = estimate(provider="other")
    assert (cost.usd, cost.note) == (None, "No prices of this provider are known.")
    with pytest.raises(ConfigError, match="can't be said"):
        refuse_if_too_expensive(cost, 1_000)


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0, "$0.00"), (0.00031, "$0.00031"), (0.0099, "$0.0099"), (0.01, "$0.01"), (1234.5, "$1,234.50")],
)
def test_amounts_under_a_cent_are_not_nothing(amount: float, said: str) -> None:
    assert format_usd(amount) == said


def test_run_over_its_cost_limit_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_if_too_expensive(estimate(), 5.5)
    assert caught.value.message == (
        "The training would cost about $6.00, but max_cost_usd allows $5.50. "
        "500,000 tokens × 4 epochs × $3.00 per million tokens (prices of 2026-10)."
    )
    assert "--max-cost-usd" in str(caught.value.hint)
    tiny = estimate(tokens=np.full(10, 10, np.uint32), n_epochs=1)
    with pytest.raises(ConfigError, match=re.escape("about $0.0003, but max_cost_usd allows $0.00.")):
        refuse_if_too_expensive(tiny, 0)


@pytest.mark.parametrize("beside", [{"model": "o9"}, {"model": "o4-mini", "method": "reinforcement"}])
def test_with_a_limit_a_price_must_be_known(beside: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"can't be said\. (No training price|Reinforcement training)"):
        refuse_if_too_expensive(estimate(**beside), 1_000)
