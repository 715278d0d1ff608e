"""Finding what is held out and asks nearly the same as an example on another side of the split."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from retune.data.dataset.columns import BANDS, SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset.repeats import partition
from retune.data.example.example import expected_answer
from retune.data.example.texts import example_texts
from retune.data.near_duplicates.keys import numbers_of, similarity, without_numbers, words_of

NEARLY_THE_SAME = 0.8
"""Jaccard similarity of two prompts' pairs of words from which they are reported.

Of the 151 pairs of different prompts in BANKING77's training file that are so much alike, 93 % have the same label;
from 0.7 to 0.8 it is 72 %, and many of those ask for something else ("received my pin", "received my card").
"""

MOST_COMPARED = 5_000
"""At most this many held-out examples are compared: of those that share a key with another split, the ones that share
most keys."""

# Members of another split that a held-out example meets in one bucket, and of all that it met the likeliest.
_PARTNERS_PER_BAND = 2
_PARTNERS_COMPARED = 5

# Each takes about 30 bytes for each example, of a million at most.
_SORTED_AT_A_TIME = 2

_TRAIN = SPLITS.index("train")
_SPLIT_BITS = np.uint64(2)


class NearPair(NamedTuple):
    """Two examples in different splits that ask nearly the same.

    Attributes:
        held_out: Index of the one that is held out.
        other: Index of the one on the other split: train, or validation for one of test.
        similarity: Jaccard similarity of their prompts.
        asked: What the first asks.
        asked_there: What the other asks.
    """

    held_out: int
    other: int
    similarity: float
    asked: str
    asked_there: str


@dataclass(slots=True)
class Candidates:
    """Which examples may be nearly the same, because they share a key.

    Attributes:
        held_out: `int64[h]`, examples that have a partner, ascending.
        partners: `int32[h, k]`, examples in another split, the likeliest first; -1 where there are no more.
        n_found: How many held-out examples have a partner; more than h where they were too many.
    """

    held_out: npt.NDArray[np.int64]
    partners: npt.NDArray[np.int32]
    n_found: int


def find_candidates(
    store: ExampleStore, splits: npt.NDArray[np.uint8], wanted: npt.NDArray[np.bool_], *, most: int = MOST_COMPARED
) -> Candidates:
    """Find examples in different splits that share at least one key, with work that is linear in their number.

    However many examples share a key, each held-out one of them meets only a few of the others.

    Args:
        store: The examples; their keys were found when they were read.
        splits: For each its place in `SPLITS`.
        wanted: `bool[n]`, which of them to look at.
        most: Of more held-out examples with a partner, so many that share the most keys with others.
    """
    held_out = np.flatnonzero(wanted & (splits > _TRAIN))
    met = np.full((len(held_out), BANDS * _PARTNERS_PER_BAND), -1, np.int32)

    def meet(band: int) -> None:
        # The last bits of a key make room for the split, so that one sort puts the splits of each bucket in order.
        keys = store.band(band) << _SPLIT_BITS | splits
        for part in partition(keys, wanted):
            here, partners = _meet(part, keys)
            first = band * _PARTNERS_PER_BAND
            met[np.searchsorted(held_out, here), first : first + _PARTNERS_PER_BAND] = partners

    # NumPy sorts without holding on to the interpreter.
    with ThreadPoolExecutor(_SORTED_AT_A_TIME) as executor:
        list(executor.map(meet, range(BANDS)))
    n_shared = (met.reshape(len(held_out), BANDS, _PARTNERS_PER_BAND)[:, :, 0] >= 0).sum(axis=1, dtype=np.int8)
    found = np.flatnonzero(n_shared)
    compared = np.sort(found[np.argsort(-n_shared[found], kind="stable")[:most]])
    chosen = held_out[compared]
    return Candidates(chosen, _likeliest(met[compared]), len(found))


def _meet(
    indices: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Held-out examples and, for each, a few members of its bucket on splits that come before its own; -1 for none."""
    keys = keys[indices]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    place = np.arange(len(keys), dtype=np.int32)
    bucket = _start_of_run(keys >> _SPLIT_BITS, place)
    split = _start_of_run(keys, place)
    here = np.flatnonzero(split > bucket)
    n_others = split[here] - bucket[here]
    rank = here - split[here]
    step = np.maximum(1, n_others // _PARTNERS_PER_BAND)
    partners = np.full((len(here), _PARTNERS_PER_BAND), -1, np.int32)
    for turn in range(_PARTNERS_PER_BAND):
        chosen = bucket[here] + (rank + turn * step) % n_others
        partners[:, turn] = np.where(turn < n_others, indices[order[chosen]], -1)
    # Splits are in the order of SPLITS, so a run that isn't its bucket's first is held out.
    return indices[order[here]], partners


def _start_of_run(values: npt.NDArray[np.uint64], place: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    is_new = np.ones(len(values), np.bool_)
    is_new[1:] = values[1:] != values[:-1]
    start: npt.NDArray[np.int32] = np.maximum.accumulate(np.where(is_new, place, 0))
    return start


def _likeliest(met: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Of the examples that each met, different ones, first those that it met most often."""
    met = np.sort(met, axis=1)
    times = (met[:, :, None] == met[:, None, :]).sum(axis=2)
    comes_again = np.zeros(met.shape, np.bool_)
    comes_again[:, 1:] = met[:, 1:] == met[:, :-1]
    times[comes_again | (met < 0)] = -1
    best = np.argsort(-times, axis=1, kind="stable")[:, :_PARTNERS_COMPARED]
    partners: npt.NDArray[np.int32] = np.where(
        np.take_along_axis(times, best, axis=1) < 0, np.int32(-1), np.take_along_axis(met, best, axis=1)
    )
    return partners


def compare(store: ExampleStore, candidates: Candidates) -> list[NearPair]:
    """Read what the candidates ask and keep, for each that is held out, the example that it is most alike to.

    Two prompts are alike by `prompt_similarity`; pairs below `NEARLY_THE_SAME` are none. Where candidates show that a
    template's answer depends on its number, pairs of that template that differ in numbers are none either, even if
    their answers are the same by chance.
    """
    table = np.concatenate((candidates.held_out[:, None], candidates.partners.astype(np.int64)), axis=1)
    is_there = table >= 0
    has_answers = store.facts.method != "reinforcement"
    asked = (_read(line, has_answers=has_answers) for line in store.read_lines(table[is_there]))
    found: list[tuple[NearPair, int | None]] = []
    dependent: set[int] = set()
    for row, known in zip(table.tolist(), is_there.tolist(), strict=True):
        held_out, *others = islice(asked, sum(known))
        template = hash(tuple(held_out.template))
        if any(_depends_on_numbers(held_out, other) for other in others):
            dependent.add(template)
        likeness = [prompt_similarity(held_out, other) for other in others]
        best = max(range(len(others)), key=likeness.__getitem__)
        if likeness[best] >= NEARLY_THE_SAME:
            has_same_numbers = held_out.numbers == others[best].numbers
            pair = NearPair(row[0], row[1 + best], likeness[best], held_out.text, others[best].text)
            found.append((pair, None if has_same_numbers else template))
    return [pair for pair, template in found if template not in dependent]


@dataclass(frozen=True)
class Asked:
    """What an example asks.

    Attributes:
        text: The last message before the answer.
        words: Of all messages before the answer, but for instructions.
        answer: What it answers; empty where there is no answer.
    """

    text: str
    words: list[str]
    answer: str

    @cached_property
    def numbers(self) -> list[str]:
        """Every number in the words, in order."""
        return numbers_of(self.words)

    @cached_property
    def template(self) -> list[str]:
        """The words with every number made the same."""
        return without_numbers(self.words)


def prompt_similarity(one: Asked, other: Asked) -> float:
    """How much two prompts are alike, 0 to 1.

    Templates with another number in each ("Where is order 123?", "Where is order 456?") are the hard case, and the
    answer decides it. Where both have the same answer, and it is not a number, all numbers count as the same: whoever
    has learned one knows the other. Where answers differ, the number is what the answer depends on: prompts with
    different numbers are then not alike at all.
    """
    is_same_answer = one.answer == other.answer and any(map(str.isalpha, one.answer))
    if is_same_answer:
        return similarity(one.template, other.template)
    return similarity(one.words, other.words) if one.numbers == other.numbers else 0.0


def _depends_on_numbers(one: Asked, other: Asked) -> bool:
    """Whether two prompts are the same template with another number, and another answer for it."""
    return (
        one.answer != other.answer
        and one.numbers != other.numbers
        and similarity(one.template, other.template) >= NEARLY_THE_SAME
    )


def _read(line: bytes, *, has_answers: bool) -> Asked:
    body = json.loads(line)
    texts = example_texts(body).prompt
    return Asked(texts[-1] if texts else "", words_of(texts), expected_answer(body) if has_answers else "")
