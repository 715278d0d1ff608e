"""Counting tokens offline, and what training on them costs at OpenAI."""

import json
import re
import statistics
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from retune.data.examples import message_text

_TOKENS_PER_EXAMPLE = 1
_TOKENS_PER_MESSAGE = 3

_TARGET_EPOCHS, _MAX_EPOCHS = 3, 25
_MIN_TRAINED_EXAMPLES, _MAX_TRAINED_EXAMPLES = 100, 25_000

# gpt-4o, gpt-4.1 and gpt-4.5 are later models: after "gpt-4" there must be a dash or nothing.
_CL100K_MODELS = re.compile(r"gpt-3\.5|gpt-35|gpt-4(-|$)|davinci-002|babbage-002")


class TokenFacts(BaseModel):
    """Tokens of a training file in one epoch.

    Attributes:
        total: Of all examples.
        minimum: Of the shortest example.
        median: Half of the examples have at most this many.
        maximum: Of the longest example.
        encoding: The tokenizer that counted.
    """

    model_config = ConfigDict(frozen=True)

    total: int
    minimum: int
    median: float
    maximum: int
    encoding: str


class _Tokenizer(Protocol):
    def count(self, text: str) -> int: ...


def count_tokens(bodies: Iterable[Mapping[str, Any]], model: str) -> TokenFacts:
    """Count the tokens of examples the way OpenAI bills text.

    The rule is 1 + Σ messages (3 + tokens(role) + tokens(content)) for each example. It gave the `trained_tokens` of
    two published jobs exactly. It counts text alone: tools, tool calls and images are not in it. For models that
    have another tokenizer, such as Retune's own baseline, the count is an estimate.

    Args:
        bodies: Bodies of examples that passed the checks.
        model: The base or fine-tuned model; it decides the tokenizer.
    """
    encoding = encoding_for(model)
    tokenizer = _load_tokenizer(encoding)
    counts = [_count_example(body, tokenizer) for body in bodies] or [0]
    return TokenFacts(
        total=sum(counts),
        minimum=min(counts),
        median=statistics.median(counts),
        maximum=max(counts),
        encoding=encoding,
    )


def encoding_for(model: str) -> str:
    """Name of a model's tokenizer: cl100k_base for gpt-3.5 and gpt-4, o200k_base for later and unknown ones."""
    return "cl100k_base" if _CL100K_MODELS.match(_base_model(model)) else "o200k_base"


def estimate_cost(model: str, tokens: int, n_epochs: int) -> float | None:
    """Price of a training at OpenAI in US dollars, or None where the model's price isn't known.

    Training is billed by tokens × epochs; validation is free. Prices, their date and source are in `prices.json`.

    Args:
        model: The base or fine-tuned model, by its full name.
        tokens: Tokens of the training file in one epoch.
        n_epochs: Passes over the file.
    """
    price = _load_prices().get(_base_model(model))
    return None if price is None else price * tokens * n_epochs / 1_000_000


def auto_n_epochs(n_examples: int) -> int:
    """Epochs that OpenAI chooses for `n_epochs: auto`: three, more for few examples, fewer for very many.

    From OpenAI's cookbook ("Data preparation and analysis for chat model fine-tuning"); real jobs agree with it.
    """
    if n_examples * _TARGET_EPOCHS < _MIN_TRAINED_EXAMPLES:
        return min(_MAX_EPOCHS, _MIN_TRAINED_EXAMPLES // max(n_examples, 1))
    if n_examples * _TARGET_EPOCHS > _MAX_TRAINED_EXAMPLES:
        return max(1, _MAX_TRAINED_EXAMPLES // n_examples)
    return _TARGET_EPOCHS


def _count_example(body: Mapping[str, Any], tokenizer: _Tokenizer) -> int:
    return _TOKENS_PER_EXAMPLE + sum(
        _TOKENS_PER_MESSAGE + _count(message["role"], tokenizer) + _count(message_text(message), tokenizer)
        for message in body["messages"]
    )


def _count(text: str, tokenizer: _Tokenizer) -> int:
    # The tokenizer reads UTF-8, which has no lone surrogates.
    return tokenizer.count(text.encode(errors="replace").decode())


def _base_model(model: str) -> str:
    return model.split(":")[1] if model.startswith("ft:") else model


@cache
def _load_tokenizer(encoding: str) -> _Tokenizer:
    with warnings.catch_warnings():
        # Importing bpe_openai reads its files in a way that Python 3.11 and 3.12 call deprecated, 3.13 no longer.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Its public Encoding refuses texts of more than 200,000 tokens; the tokenizer underneath has no limit.
        from bpe_openai import _bindings  # noqa: PLC0415  (slow to import)
    tokenizer: _Tokenizer = _bindings.tokenizer_for_encoding(encoding)
    return tokenizer


@cache
def _load_prices() -> dict[str, float]:
    text = resources.files("retune.data").joinpath("prices.json").read_text(encoding="utf-8")
    prices: dict[str, float] = json.loads(text)["training_usd_per_million_tokens"]
    return prices
