"""Examples that are the same, and those that ask the same but answer something else."""

import json
from collections.abc import Iterator

import numpy as np

from retune.data.dataset.columns import CONTENT_COLUMNS, SIDES
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset.repeats import Repeats, combine, find_repeats
from retune.data.dataset_checks.context import Subject
from retune.data.example.example import expected_answer
from retune.data.example.hashes import text_hash
from retune.data.example.json_values import canonical
from retune.data.example.label_counts import count_listed_labels, parse_labels
from retune.data.problems.problems import Further, Problem, everywhere
from retune.redaction.masking import shown


def find_duplicates(store: ExampleStore) -> Repeats:
    """Sound examples that are the same, in all that is trained on, as one before them."""
    whole = combine(store.hashes(name) for name in CONTENT_COLUMNS)
    return find_repeats(whole, store.column("sound").astype(np.bool_))


def check_duplicates(subject: Subject) -> Iterator[Problem | Further]:
    """Name every example that was there before, with the first one that it equals.

    An example that asks the same as an earlier one under the same instructions, answers otherwise, and is no
    duplicate, is a conflict: its answer is held against that of the first which asks the same. Preference pairs
    may well prefer different answers, and reinforcement examples have none: of these only duplicates are looked for.
    """
    store = subject.store
    duplicates = find_duplicates(store)
    # The same in two splits that the source declares is another problem, and nothing to be dropped.
    side = np.maximum(store.column("side"), SIDES.index("train"))
    named = duplicates.where(side[duplicates.again] == side[duplicates.first])
    places = subject.locations(named.first)
    yield from subject.problems_at(
        "duplicate_example", named.again, (f"the same as {location}." for location, _, _ in places)
    )
    if store.facts.method != "supervised":
        subject.not_applied["conflicting answers"] = "only for supervised examples, which have one right answer"
        return
    yield from _conflicts(subject, duplicates)


def check_same_answer(subject: Subject) -> Iterator[Problem | Further]:
    """Notice where all answers are the same."""
    store = subject.store
    if store.facts.method == "reinforcement":
        subject.not_applied["same answer everywhere"] = "reinforcement examples have no answers"
        return
    answers = store.hashes("answer")[subject.sound]
    if len(answers) < 2 or (answers != answers[0]).any():
        return
    first = np.flatnonzero(subject.sound)[:1]
    answer = next(_answers(store, first))
    if answer:
        yield everywhere("same_answer_everywhere", f"all {len(answers):,} answers are {shown(answer)}.")
    else:
        subject.not_applied["same answer everywhere"] = "the answers have no text, such as calls of tools"


def _conflicts(subject: Subject, duplicates: Repeats) -> Iterator[Problem | Further]:
    asked_before = find_repeats(
        combine(subject.store.hashes(name) for name in ("prompt", "instructions")), subject.sound
    )
    answers = _as_sets(subject)
    differs = answers[asked_before.again] != answers[asked_before.first]
    del answers
    conflicts = asked_before.where(differs & ~np.isin(asked_before.again, duplicates.again, assume_unique=True))
    yield from subject.problems_at("conflicting_answers", conflicts.again, _describe_conflicts(subject, conflicts))


def _as_sets(subject: Subject) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """The hashes of the answers, the same for lists of the same labels: their order doesn't matter."""
    answers, counts = subject.store.hashes("answer"), subject.store.facts.labels or {}
    if not count_listed_labels(counts):
        return answers
    as_sets = {text_hash(answer): text_hash(canonical(sorted(parse_labels(answer) or ()))) for answer in counts}
    return np.array([as_sets.get(value, value) for value in answers.tolist()], np.uint64)


def _describe_conflicts(subject: Subject, conflicts: Repeats) -> Iterator[str]:
    answers, earlier = (_answers(subject.store, indices) for indices in (conflicts.again, conflicts.first))
    for (location, _, _), answer, other in zip(subject.locations(conflicts.first), answers, earlier, strict=True):
        yield f"asks the same as {location}, but answers {shown(answer)} and not {shown(other)}."


def _answers(store: ExampleStore, indices: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Iterator[str]:
    return (expected_answer(json.loads(line)) for line in store.read_lines(indices))
