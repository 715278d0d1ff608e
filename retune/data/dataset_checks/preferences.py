"""Preference pairs that undo each other: of the same two answers each prefers the other one."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset.repeats import combine, find_repeats
from retune.data.dataset_checks.context import Indices, Subject
from retune.data.example.example import canonical_json
from retune.data.example.hashes import text_hash
from retune.data.problems.problems import Further, Problem


def check_preferences(subject: Subject) -> Iterator[Problem | Further]:
    """Name every pair that prefers what an earlier one avoids, and avoids what that one prefers.

    Only pairs whose prompt comes more than once are read.
    """
    if subject.store.facts.method != "dpo":
        return
    prompts = subject.store.hashes("prompt")
    repeats = find_repeats(prompts, subject.sound)
    several = np.union1d(repeats.again, repeats.first)
    answers = _hash_answers(subject.store, several)
    forward = combine((prompts[several], answers[:, 0], answers[:, 1]))
    backward = combine((prompts[several], answers[:, 1], answers[:, 0]))
    different, first = np.unique(forward, return_index=True)
    if not len(different):
        return
    place = np.searchsorted(different, backward).clip(max=len(different) - 1)
    is_before = first[place] < np.arange(len(several))
    is_undone = (different[place] == backward) & is_before & (answers[:, 0] != answers[:, 1])
    places = subject.locations(several[first[place[is_undone]]])
    messages = (
        f"prefers the answer that {location} avoids, and avoids the one that it prefers." for location, _, _ in places
    )
    yield from subject.problems_at("conflicting_preference", several[is_undone], messages)


def _hash_answers(store: ExampleStore, indices: Indices) -> npt.NDArray[np.uint64]:
    hashes = np.zeros((len(indices), 2), np.uint64)
    for place, line in enumerate(store.read_lines(indices)):
        body: dict[str, Any] = json.loads(line)
        for column, key in enumerate(("preferred_output", "non_preferred_output")):
            hashes[place, column] = text_hash(canonical_json(body[key]).decode())
    return hashes
