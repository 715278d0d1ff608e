"""What a training costs, said before it is paid for."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from retune.config import LOCAL_MODEL, ProviderKind
from retune.data.cost.base_models import base_model, find_model, price_source
from retune.data.example.example import Method
from retune.errors import OverBudgetError

_TARGET_EPOCHS, _MAX_EPOCHS = 3, 25
_MIN_TRAINED_EXAMPLES, _MAX_TRAINED_EXAMPLES = 100, 25_000
_MILLION = 1_000_000

_NOTES: dict[ProviderKind, str] = {
    "azure": "The price is OpenAI's; Azure's depends on the region and on the kind of training.",
    "retune": "Retune's own server bills nothing.",
    "other": "No prices of this provider are known.",
}
_NOTE_ON_PAIRS = "Of a preference pair, the conversation and both answers count once each."
_NOTE_ON_IMAGES = "Tokens of images are estimates."


class CostEstimate(BaseModel):
    """What the training will cost at the provider.

    Attributes:
        usd: None where no price of the model is known, or training is billed by something that isn't known beforehand.
        training_tokens: Tokens of the training split in one epoch, without what is cut off of long examples.
        n_epochs: Passes over it.
        is_auto: The number of passes is the provider's choice, by its published rule.
        prices_as_of: Date of the price table.
        prices_source: Where the prices are from.
        usd_per_million_tokens: The price that it was computed with.
        note: Why there is no price, or what makes it less than certain, as a sentence.
    """

    model_config = ConfigDict(frozen=True)

    usd: float | None
    training_tokens: int
    n_epochs: int
    is_auto: bool
    prices_as_of: str
    prices_source: str
    usd_per_million_tokens: float | None = None
    note: str | None = None


def estimate_training_cost(
    model: str,
    tokens: npt.NDArray[np.uint32],
    n_epochs: int | Literal["auto"],
    *,
    method: Method = "supervised",
    provider: ProviderKind = "openai",
    has_images: bool = False,
) -> CostEstimate:
    """Estimate what a job will cost.

    Supervised and preference training are billed by the tokens of the training file times epochs, reinforcement by
    the time of training and the tokens of model graders (OpenAI's billing guide). Of an example, only what fits the
    model's training context is trained on and billed (OpenAI's cookbook, "Data preparation and analysis for chat
    model fine-tuning"). Validation is free.

    Args:
        model: The base or fine-tuned model, by its full name.
        tokens: Of each example of the training split.
        n_epochs: Passes over it, or "auto" for the provider's choice.
        method: How it is trained.
        provider: Who trains.
        has_images: Some of the tokens stand for images.
    """
    facts = find_model(model)
    is_free = trains_for_free(provider, model)
    counted = tokens if facts is None or facts.training_context is None else np.minimum(tokens, facts.training_context)
    training_tokens = int(counted.sum(dtype=np.int64))
    epochs = auto_n_epochs(len(tokens)) if n_epochs == "auto" else n_epochs
    price = None if facts is None or method == "reinforcement" else facts.usd_per_million_tokens
    if is_free or provider == "other":
        price = 0.0 if is_free else None
    source = price_source()
    return CostEstimate(
        usd=None if price is None else price * training_tokens * epochs / _MILLION,
        training_tokens=training_tokens,
        n_epochs=epochs,
        is_auto=n_epochs == "auto",
        prices_as_of=source.as_of,
        prices_source=source.source_per_hour if method == "reinforcement" else source.source,
        usd_per_million_tokens=price,
        note=_note(
            model, method, "retune" if is_free else provider, has_price=price is not None, has_images=has_images
        ),
    )


def trains_for_free(provider: ProviderKind, model: str) -> bool:
    """Whether nobody bills a training: on the server that `retune run` starts, or of Retune's own base model.

    That a server is on this machine says nothing: it may pass requests on to one that bills.
    """
    return provider == "retune" or base_model(model) == LOCAL_MODEL


def price_of_tokens(model: str, tokens: int) -> float | None:
    """Price in US dollars of a job that was trained on so many tokens in all its epochs, as the job says itself.

    None where OpenAI's price of the model isn't known.
    """
    facts = find_model(model)
    if facts is None or facts.usd_per_million_tokens is None:
        return None
    return facts.usd_per_million_tokens * tokens / _MILLION


def auto_n_epochs(n_examples: int) -> int:
    """Epochs that OpenAI chooses for `n_epochs: auto`: three, more for few examples, fewer for very many.

    From OpenAI's cookbook ("Data preparation and analysis for chat model fine-tuning"); real jobs agree with it.
    """
    if n_examples * _TARGET_EPOCHS < _MIN_TRAINED_EXAMPLES:
        return min(_MAX_EPOCHS, _MIN_TRAINED_EXAMPLES // max(n_examples, 1))
    if n_examples * _TARGET_EPOCHS > _MAX_TRAINED_EXAMPLES:
        return max(1, _MAX_TRAINED_EXAMPLES // n_examples)
    return _TARGET_EPOCHS


def refuse_if_too_expensive(cost: CostEstimate, max_cost_usd: float | Literal["unlimited"]) -> None:
    """Stop a run that may cost more than its owner allows.

    Args:
        cost: What it will cost.
        max_cost_usd: Most US dollars that it may cost.

    Raises:
        OverBudgetError: It would cost more, or nobody can say what it costs. It says how the price was computed.
    """
    if max_cost_usd == "unlimited":
        return
    if cost.usd is None:
        raise OverBudgetError(
            f"max_cost_usd allows {format_usd(max_cost_usd)}, but what the training will cost can't be said. "
            f"{cost.note}",
            hint="Raise --max-cost-usd to unlimited if you want to train all the same, or choose a model with a known "
            "price.",
        )
    if cost.usd > max_cost_usd:
        raise OverBudgetError(
            f"The training would cost about {format_usd(cost.usd)}, "
            f"but max_cost_usd allows {format_usd(max_cost_usd)}. {describe_cost(cost)}",
            hint="Raise --max-cost-usd, train for fewer epochs, on fewer examples, or choose a cheaper model.",
        )


def needs_approval(cost: CostEstimate, approve_above_usd: float | Literal["never"]) -> bool:
    """Whether somebody is to be asked first: it costs more than is let through unasked, or nobody can say what."""
    return approve_above_usd != "never" and (cost.usd is None or cost.usd > approve_above_usd)


def describe_cost(cost: CostEstimate) -> str:
    """How an estimate was computed, for people: one sentence or two."""
    if cost.note is not None and cost.prices_source == price_source().source_per_hour:
        return cost.note
    epochs = f"{cost.n_epochs} epoch{'' if cost.n_epochs == 1 else 's'}"
    chosen = " (the provider's choice by its published rule)" if cost.is_auto else ""
    amount = f"{cost.training_tokens:,} tokens × {epochs}{chosen}"
    if cost.usd_per_million_tokens:
        amount += f" × {format_usd(cost.usd_per_million_tokens)} per million tokens (prices of {cost.prices_as_of})"
    return f"{amount}. {cost.note}" if cost.note else f"{amount}."


def _note(model: str, method: Method, provider: ProviderKind, *, has_price: bool, has_images: bool) -> str | None:
    if provider in ("retune", "other"):
        return _NOTES[provider]
    if method == "reinforcement":
        return _note_on_time(model)
    if not has_price:
        return f"No training price of {base_model(model)} is known."
    notes = [_NOTE_ON_PAIRS] if method == "dpo" else []
    if has_images:
        notes.append(_NOTE_ON_IMAGES)
    if provider == "azure":
        notes.append(_NOTES[provider])
    return " ".join(notes) or None


def _note_on_time(model: str) -> str:
    facts = find_model(model)
    rate = "" if facts is None or facts.usd_per_hour is None else f", {format_usd(facts.usd_per_hour)} an hour"
    return f"Reinforcement training is billed by the time that it takes{rate}, and by the tokens of model graders."


def format_usd(amount: float) -> str:
    """US dollars for people: to the cent, or two figures of what is less than a cent."""
    return f"${amount:,.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.2g}"
