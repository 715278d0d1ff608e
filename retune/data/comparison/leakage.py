"""What is judged must not be known from the training: equal and nearly equal prompts on two sides of the split."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from retune.config import SplitMethod
from retune.data.checks.masking import shown_masked
from retune.data.comparison.near_pairs import Candidates, NearPair, compare, find_candidates
from retune.data.comparison.subject import Subject
from retune.data.problems import Problem
from retune.data.repeats import find_repeats
from retune.data.store.columns import SIDES

_NEAR = "near-duplicates across splits"


def check_split_column(subject: Subject) -> Iterator[Problem]:
    """Where a column names the split: examples that ask the same, on two sides.

    The other methods keep what asks the same together. Every example on another side than the first that asks the
    same is named; where the column names none, the side is train.
    """
    if subject.split.method is not SplitMethod.COLUMN:
        return
    sides = np.maximum(subject.store.column("side"), SIDES.index("train"))
    repeats = find_repeats(subject.store.hashes("prompt"), subject.sound)
    repeats = repeats.where(sides[repeats.again] != sides[repeats.first])
    places = subject.locations(repeats.first)
    messages = (
        f"stands in {SIDES[here]} and asks the same as {location}, which stands in {SIDES[there]}."
        for here, there, (location, _, _) in zip(
            sides[repeats.again].tolist(), sides[repeats.first].tolist(), places, strict=True
        )
    )
    yield from subject.problems_at("split_contradiction", repeats.again, messages)


def check_near_duplicates(subject: Subject) -> Iterator[Problem]:
    """Held-out examples that ask nearly the same as one on another side; see `prompt_similarity`."""
    sides = subject.sides
    reason = _cannot_apply(subject)
    if reason is not None or sides is None:
        subject.not_applied[_NEAR] = reason or "the examples can't be dealt to splits"
        return
    candidates = find_candidates(subject.store, sides, subject.sound & (sides > 0))
    n_compared = len(candidates.held_out)
    if candidates.n_found > n_compared:
        subject.skip(
            _NEAR,
            f"of {candidates.n_found:,} held-out examples that may be nearly the same as others, only the "
            f"{n_compared:,} likeliest were compared",
        )
    yield from _describe(subject, sides, candidates)


def _cannot_apply(subject: Subject) -> str | None:
    if not subject.store.facts.checks:
        return "checks are off"
    if subject.sides is not None and len(np.unique(subject.sides[subject.sides > 0])) < 2:
        return "there is only one split"
    return None


def _describe(subject: Subject, sides: npt.NDArray[np.uint8], candidates: Candidates) -> Iterator[Problem]:
    prompts = subject.store.hashes("prompt")
    # What asks exactly the same on two sides is an error, and reported as such.
    pairs = [pair for pair in compare(subject.store, candidates) if prompts[pair.held_out] != prompts[pair.other]]
    here = np.array([pair.held_out for pair in pairs], np.int64)
    places = subject.locations(np.array([pair.other for pair in pairs], np.int64))
    messages = (_message(pair, sides, location) for pair, (location, _, _) in zip(pairs, places, strict=True))
    yield from subject.problems_at("near_duplicate_across_splits", here, messages)


def _message(pair: NearPair, sides: npt.NDArray[np.uint8], location: str) -> str:
    here, there = (SIDES[sides[index]] for index in (pair.held_out, pair.other))
    asked, asked_there = shown_masked(pair.asked), shown_masked(pair.asked_there)
    return (
        f"{asked} in {here} is nearly the same as {location} in {there}, {asked_there} "
        f"(similarity {pair.similarity:.2f})."
    )
