"""Duplicates, and examples that contradict each other."""

import json
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from retune.data.dataset.columns import CONTENT_COLUMNS, SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset.repeats import Repeats, combine, find_repeats
from retune.data.dataset_checks.context import CheckContext, Indices
from retune.data.example.example import canonical_json, expected_answer
from retune.data.example.hashes import text_hash
from retune.data.example.labels import canonical, count_listed_labels, parse_labels
from retune.data.problems.problems import Further, Problem, everywhere
from retune.redaction.masking import shown
from retune.training_lines.keys import JsonObject


def find_duplicates(store: ExampleStore) -> Repeats:
    """Valid examples that are the same, in all that is trained on, as one before them."""
    whole = combine(store.hashes(name) for name in CONTENT_COLUMNS)
    return find_repeats(whole, store.column("sound").astype(np.bool_))


def check_duplicates(context: CheckContext) -> Iterator[Problem | Further]:
    """Name every example that was there before, with the first one that it equals.

    An example that asks the same as an earlier one under the same instructions, answers otherwise, and is no
    duplicate, is a conflict: its answer is compared with that of the first which asks the same. Preference pairs
    may well prefer different answers, and reinforcement examples have none: of these only duplicates are looked for.
    """
    store = context.store
    duplicates = find_duplicates(store)
    # The same in two splits that the source declares is another problem, and nothing to be dropped.
    split = np.maximum(store.column("side"), SPLITS.index("train"))
    named = duplicates.where(split[duplicates.again] == split[duplicates.first])
    places = context.locations(named.first)
    yield from context.problems_at(
        "duplicate_example", named.again, (f"the same as {location}." for location, _, _ in places)
    )
    if store.facts.method != "supervised":
        context.not_applied["conflicting answers"] = "only for supervised examples, which have one right answer"
        return
    yield from _conflicts(context, duplicates)


def check_same_answer(context: CheckContext) -> Iterator[Problem | Further]:
    """Notice where all answers are the same."""
    store = context.store
    if store.facts.method == "reinforcement":
        context.not_applied["same answer everywhere"] = "reinforcement examples have no answers"
        return
    answers = store.hashes("answer")[context.valid]
    if len(answers) < 2 or (answers != answers[0]).any():
        return
    first = np.flatnonzero(context.valid)[:1]
    answer = next(_answers(store, first))
    if answer:
        yield everywhere("same_answer_everywhere", f"all {len(answers):,} answers are {shown(answer)}.")
    else:
        context.not_applied["same answer everywhere"] = "the answers have no text, such as calls of tools"


def _conflicts(context: CheckContext, duplicates: Repeats) -> Iterator[Problem | Further]:
    asked_before = find_repeats(
        combine(context.store.hashes(name) for name in ("prompt", "instructions")), context.valid
    )
    answers = _as_sets(context)
    differs = answers[asked_before.again] != answers[asked_before.first]
    del answers
    conflicts = asked_before.where(differs & ~np.isin(asked_before.again, duplicates.again, assume_unique=True))
    yield from context.problems_at("conflicting_answers", conflicts.again, _describe_conflicts(context, conflicts))


def _as_sets(context: CheckContext) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """The hashes of the answers, the same for lists of the same labels: their order doesn't matter."""
    answers, counts = context.store.hashes("answer"), context.store.facts.labels or {}
    if not count_listed_labels(counts):
        return answers
    as_sets = {text_hash(answer): text_hash(canonical(sorted(parse_labels(answer) or ()))) for answer in counts}
    return np.array([as_sets.get(value, value) for value in answers.tolist()], np.uint64)


def _describe_conflicts(context: CheckContext, conflicts: Repeats) -> Iterator[str]:
    answers, earlier = (_answers(context.store, indices) for indices in (conflicts.again, conflicts.first))
    for (location, _, _), answer, other in zip(context.locations(conflicts.first), answers, earlier, strict=True):
        yield f"asks the same as {location}, but answers {shown(answer)} and not {shown(other)}."


def _answers(store: ExampleStore, indices: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Iterator[str]:
    return (expected_answer(json.loads(line)) for line in store.read_lines(indices))


def check_preferences(context: CheckContext) -> Iterator[Problem | Further]:
    """Name every pair that prefers what an earlier one avoids, and avoids what that one prefers.

    Only pairs whose prompt comes more than once are read.
    """
    if context.store.facts.method != "dpo":
        return
    prompts = context.store.hashes("prompt")
    repeats = find_repeats(prompts, context.valid)
    several = np.union1d(repeats.again, repeats.first)
    answers = _hash_answers(context.store, several)
    forward = combine((prompts[several], answers[:, 0], answers[:, 1]))
    backward = combine((prompts[several], answers[:, 1], answers[:, 0]))
    different, first = np.unique(forward, return_index=True)
    if not len(different):
        return
    place = np.searchsorted(different, backward).clip(max=len(different) - 1)
    is_before = first[place] < np.arange(len(several))
    is_undone = (different[place] == backward) & is_before & (answers[:, 0] != answers[:, 1])
    places = context.locations(several[first[place[is_undone]]])
    messages = (
        f"prefers the answer that {location} avoids, and avoids the one that it prefers." for location, _, _ in places
    )
    yield from context.problems_at("conflicting_preference", several[is_undone], messages)


def _hash_answers(store: ExampleStore, indices: Indices) -> npt.NDArray[np.uint64]:
    hashes = np.zeros((len(indices), 2), np.uint64)
    for place, line in enumerate(store.read_lines(indices)):
        body: JsonObject = json.loads(line)
        for column, key in enumerate(("preferred_output", "non_preferred_output")):
            hashes[place, column] = text_hash(canonical_json(body[key]).decode())
    return hashes
