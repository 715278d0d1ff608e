"""What is judged must not be known from the training: equal and nearly equal prompts on two sides of the split."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from retune.data.dataset.columns import SIDES
from retune.data.dataset_checks.context import Subject
from retune.data.near_duplicates.pairs import Candidates, NearPair, compare, find_candidates
from retune.data.problems.problems import Further, Problem
from retune.data.splits.by_column import deal_as_said, declares, find_contradictions
from retune.data.splits.keys import read_keys
from retune.redaction.masking import shown

# Two texts of the same pairs of words may still differ, in marks or in numbers.
_MOST_SHOWN = 0.99
_NEAR = "near-duplicates across splits"


def check_declared_splits(subject: Subject) -> Iterator[Problem | Further]:
    """Where the source declares splits: examples that ask the same, on two sides.

    Splits that are drawn keep what asks the same together. Every example on another side than the first that asks the
    same is named; where none is declared, the side is train.
    """
    chosen = np.flatnonzero(subject.sound)
    keys = read_keys(subject.store, subject.split, subject.sound)
    if not declares(keys):
        return
    sides = deal_as_said(keys)
    found = find_contradictions(keys, sides)
    again, first = chosen[found.again], chosen[found.first]
    places = subject.locations(first)
    messages = (
        f"stands in {SIDES[here]} and asks the same as {location}, which stands in {SIDES[there]}."
        for here, there, (location, _, _) in zip(
            sides[found.again].tolist(), sides[found.first].tolist(), places, strict=True
        )
    )
    yield from subject.problems_at("split_contradiction", again, messages)


def check_near_duplicates(subject: Subject) -> Iterator[Problem | Further]:
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


def _describe(subject: Subject, sides: npt.NDArray[np.uint8], candidates: Candidates) -> Iterator[Problem | Further]:
    prompts = subject.store.hashes("prompt")
    # What asks exactly the same on two sides is an error, and reported as such.
    pairs = [pair for pair in compare(subject.store, candidates) if prompts[pair.held_out] != prompts[pair.other]]
    here = np.array([pair.held_out for pair in pairs], np.int64)
    places = subject.locations(np.array([pair.other for pair in pairs], np.int64))
    messages = (_message(pair, sides, location) for pair, (location, _, _) in zip(pairs, places, strict=True))
    yield from subject.problems_at("near_duplicate_across_splits", here, messages)


def _message(pair: NearPair, sides: npt.NDArray[np.uint8], location: str) -> str:
    here, there = (SIDES[sides[index]] for index in (pair.held_out, pair.other))
    asked, asked_there = shown(pair.asked), shown(pair.asked_there)
    return (
        f"{asked} in {here} is nearly the same as {location} in {there}, {asked_there} "
        f"(similarity {min(pair.similarity, _MOST_SHOWN):.2f})."
    )
