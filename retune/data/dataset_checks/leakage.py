"""What is judged must not be known from the training: equal and nearly equal prompts on two sides of the split."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from retune.data.dataset.columns import SPLITS
from retune.data.dataset_checks.context import CheckContext
from retune.data.near_duplicates.pairs import Candidates, NearPair, compare, find_candidates
from retune.data.problems.problems import Further, Problem
from retune.data.splits.by_column import assign_as_declared, declares, find_contradictions
from retune.data.splits.keys import read_keys
from retune.redaction.masking import shown

# Two texts of the same pairs of words may still differ, in marks or in numbers.
_MOST_SHOWN = 0.99
_NEAR = "near-duplicates across splits"


def check_declared_splits(context: CheckContext) -> Iterator[Problem | Further]:
    """Where the source declares splits: examples that ask the same, in two splits.

    Splits that are drawn keep what asks the same together. Every example in another split than the first that asks the
    same is named; where none is declared, the split is train.
    """
    chosen = np.flatnonzero(context.valid)
    keys = read_keys(context.store, context.split, context.valid)
    if not declares(keys):
        return
    splits = assign_as_declared(keys)
    found = find_contradictions(keys, splits)
    again, first = chosen[found.again], chosen[found.first]
    places = context.locations(first)
    messages = (
        f"stands in {SPLITS[here]} and asks the same as {location}, which stands in {SPLITS[there]}."
        for here, there, (location, _, _) in zip(
            splits[found.again].tolist(), splits[found.first].tolist(), places, strict=True
        )
    )
    yield from context.problems_at("split_contradiction", again, messages)


def check_near_duplicates(context: CheckContext) -> Iterator[Problem | Further]:
    """Held-out examples that ask nearly the same as one in another split; see `prompt_similarity`."""
    splits = context.splits
    reason = _cannot_apply(context)
    if reason is not None or splits is None:
        context.not_applied[_NEAR] = reason or "the examples can't be split"
        return
    candidates = find_candidates(context.store, splits, context.valid & (splits > 0))
    n_compared = len(candidates.held_out)
    if candidates.n_found > n_compared:
        context.skip(
            _NEAR,
            f"of {candidates.n_found:,} held-out examples that may be nearly the same as others, only the "
            f"{n_compared:,} likeliest were compared",
        )
    yield from _describe(context, splits, candidates)


def _cannot_apply(context: CheckContext) -> str | None:
    if not context.store.facts.checks:
        return "checks are off"
    if context.splits is not None and len(np.unique(context.splits[context.splits > 0])) < 2:
        return "there is only one split"
    return None


def _describe(
    context: CheckContext, splits: npt.NDArray[np.uint8], candidates: Candidates
) -> Iterator[Problem | Further]:
    prompts = context.store.hashes("prompt")
    # What asks exactly the same in two splits is an error, and reported as such.
    pairs = [pair for pair in compare(context.store, candidates) if prompts[pair.held_out] != prompts[pair.other]]
    here = np.array([pair.held_out for pair in pairs], np.int64)
    places = context.locations(np.array([pair.other for pair in pairs], np.int64))
    messages = (_message(pair, splits, location) for pair, (location, _, _) in zip(pairs, places, strict=True))
    yield from context.problems_at("near_duplicate_across_splits", here, messages)


def _message(pair: NearPair, splits: npt.NDArray[np.uint8], location: str) -> str:
    here, there = (SPLITS[splits[index]] for index in (pair.held_out, pair.other))
    asked, asked_there = shown(pair.asked), shown(pair.asked_there)
    return (
        f"{asked} in {here} is nearly the same as {location} in {there}, {asked_there} "
        f"(similarity {min(pair.similarity, _MOST_SHOWN):.2f})."
    )
