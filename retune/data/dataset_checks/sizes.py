"""How many examples there are, how long they are, and what the provider allows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from retune.config import SplitMethod
from retune.data.dataset.columns import SPLITS
from retune.data.dataset_checks.context import CheckContext, holds_image
from retune.data.problems.problems import Further, Problem, everywhere
from retune.training_lines.keys import MINIMUM_EXAMPLES

FEW_HELD_OUT = {"validation": 5, "test": 20}
"""With fewer examples than this in a split, a figure on it says little."""


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """How many examples the provider takes.

    Attributes:
        reinforcement: The reinforcement guide's limits, for each split of a dataset.
        with_images: The vision guide's limit for examples with images.
    """

    reinforcement: Mapping[str, int] = field(default_factory=lambda: {"train": 50_000, "validation": 1_000})
    with_images: int = 50_000


# Tokens, where a model's context is not known.
_VERY_LONG, _TIMES_THE_MEDIAN = 100_000, 100

_STEPS_TO_THE_95TH_PERCENTILE = 10

_LIMITS = ProviderLimits()


def check_counts(context: CheckContext, limits: ProviderLimits = _LIMITS) -> Iterator[Problem]:
    """Too few examples to train, too few in a split to judge by, or more than the provider takes."""
    n_valid, n_all = context.n_valid, len(context.store)
    if n_valid < MINIMUM_EXAMPLES:
        found = f"{n_valid:,}" if n_valid == n_all else f"{n_valid:,} without errors among {n_all:,}"
        yield everywhere("too_few_examples", f"found {found}, but fine-tuning needs at least {MINIMUM_EXAMPLES}.")
    sizes = count_splits(context)
    few = {name: sizes.get(name, 0) for name, least in FEW_HELD_OUT.items() if 0 < sizes.get(name, 0) < least}
    if few:
        held = " and ".join(f"{name} has {size}" for name, size in few.items())
        trust = _way_to_trust(context, sizes) if "test" in few else "."
        yield everywhere("few_held_out", f"{held} of {sum(sizes.values())} examples{trust}")
    if context.store.facts.method == "reinforcement" and sizes:
        yield from _check_reinforcement(sizes, limits.reinforcement)
    yield from _check_images(context, limits.with_images)


def _way_to_trust(context: CheckContext, sizes: dict[str, int]) -> str:
    """Say that a test split is too small to be trusted, and which setting makes a larger one."""
    least = FEW_HELD_OUT["test"]
    so_few = f"; no figure on fewer than {least} test examples can be trusted."
    is_declared = bool((context.valid & (context.store.column("side") == SPLITS.index("test"))).any())
    if is_declared or context.split.method is SplitMethod.COLUMN:
        return f"{so_few} The source declares them; add examples to its test split."
    left = sum(sizes.values()) - least - sizes["validation"]
    if left >= MINIMUM_EXAMPLES:
        return f"{so_few} --test {least} holds out that many, and leaves {left} to train on."
    return f"{so_few} --test 0 trains on all but the validation split, and judges nothing."


def count_splits(context: CheckContext) -> dict[str, int]:
    """How many examples go to each split; empty where they can't be assigned."""
    if context.splits is None:
        return {}
    counts = np.bincount(context.splits, minlength=len(SPLITS)).tolist()
    return dict(zip(SPLITS[1:], counts[1:], strict=True))


def check_context(context: CheckContext, most_tokens: int | None) -> Iterator[Problem | Further]:
    """Examples over the model's context in training: providers cut off their ends, without a word.

    Args:
        context: The examples.
        most_tokens: Most tokens of one example; None where it isn't known.
    """
    if not context.store.facts.counts_tokens:
        context.not_applied["context"] = "tokens were not counted"
        return
    if most_tokens is None:
        context.not_applied["context"] = f"the context of {context.model} in training is not known"
        yield from _check_outliers(context)
        return
    tokens = context.store.column("tokens")
    longer = np.flatnonzero(context.valid & (tokens > most_tokens))
    messages = (
        f"{count:,} tokens; {context.model} takes {most_tokens:,} in training, "
        f"so the last {count - most_tokens:,} are cut off."
        for count in tokens[longer].tolist()
    )
    yield from context.problems_at("over_context", longer, messages)


def _check_outliers(context: CheckContext) -> Iterator[Problem | Further]:
    """Examples that hardly any model takes, and that are far longer than the others."""
    tokens = context.store.column("tokens")
    median = float(np.median(tokens[context.valid])) if context.n_valid else 0.0
    longer = np.flatnonzero(context.valid & (tokens > max(_VERY_LONG, _TIMES_THE_MEDIAN * median)))
    messages = (
        f"{count:,} tokens; half of the examples have at most {median:,.0f}." for count in tokens[longer].tolist()
    )
    yield from context.problems_at("very_long_example", longer, messages)


def token_histogram(tokens: "npt.NDArray[np.uint32]") -> list[tuple[int, int]]:
    """Count examples by their tokens, between bounds that are easy to read.

    Bounds are equal steps of 1, 2 or 5 times a power of ten, about ten of them up to the 95th percentile; beyond it
    each is twice the last.

    Returns:
        Upper bounds and how many examples have at most so many tokens, and more than the bound before.
    """
    if not len(tokens):
        return []
    step = _readable_step(float(np.percentile(tokens, 95)) / _STEPS_TO_THE_95TH_PERCENTILE)
    bounds = [step * (count + 1) for count in range(_STEPS_TO_THE_95TH_PERCENTILE)]
    while bounds[-1] < tokens.max():
        bounds.append(bounds[-1] * 2)
    counts, _ = np.histogram(tokens, bins=np.array([-0.5, *(bound + 0.5 for bound in bounds)]))
    filled = np.flatnonzero(counts)
    kept = slice(int(filled[0]), int(filled[-1]) + 1)
    return list(zip(bounds[kept], counts.tolist()[kept], strict=True))


def _readable_step(least: float) -> int:
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= least:
                return factor * power
        power *= 10


def _check_reinforcement(sizes: dict[str, int], limits: Mapping[str, int]) -> Iterator[Problem]:
    if not sizes["validation"]:
        message = "no example is held out for validation; reinforcement fine-tuning needs such a file."
        yield everywhere("too_few_examples", message)
    for name, most in limits.items():
        if sizes[name] > most:
            message = f"{name} holds {sizes[name]:,} examples; reinforcement fine-tuning takes at most {most:,}."
            yield everywhere("too_many_examples", message)


def _check_images(context: CheckContext, limit: int) -> Iterator[Problem]:
    """Count the examples with images where there are enough examples, and a sample of them has some."""
    if len(context.store) <= limit or not context.has_images:
        return
    count = sum(map(holds_image, context.store.lines()))
    if count > limit:
        message = f"{count:,} examples have images; at most {limit:,} may."
        yield everywhere("too_many_examples", message)
