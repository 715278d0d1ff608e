"""The stable split and the split by groups: each example goes by a number of its own, whatever else is there."""

import numpy as np
import numpy.typing as npt

from retune.config import SplitConfig
from retune.data.dataset.repeats import find_repeats
from retune.data.example.hashes import text_hash
from retune.data.splits.fractions import hash_fractions
from retune.data.splits.keys import TEST, TRAIN, VALIDATION, Hashes, Keys, Splits

_Numbers = npt.NDArray[np.float64]

# No group is named by an empty cell either: it is how CSV writes that nothing is there.
_EMPTY_GROUP = np.uint64(text_hash(""))

# SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", §4; the constants of its
# reference implementation, Vigna 2015, https://prng.di.unimi.it/splitmix64.c).
_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIXES = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LAST_SHIFT = np.uint64(31)


def assign_stable(keys: Keys, config: SplitConfig) -> Splits:
    """Assign by a number in [0, 1) that each example has: the keyed hash of what it asks.

    Below `test` is test, from `1 - validation` on is validation, all between is train. So equal questions are on one
    split, and an example stays where it is when the data grows, shrinks or is sorted anew; sizes come out near the
    fractions, not exactly on them. A number of examples instead of a fraction takes the questions with the smallest
    numbers until there are so many (with the largest, for validation): then more data may move an example from test
    or validation to another split. So may it where a fraction left a split empty that was asked for: the question
    nearest to it is put there, as if a number of 1 had been asked for.

    Whatever is added to the data, an example that was assigned to train stays in train.
    """
    numbers = hash_fractions(keys.prompts)
    return _assign(numbers, numbers, numbers, config)


def assign_groups(keys: Keys, config: SplitConfig) -> Splits:
    """Assign like `assign_stable`, by the keyed hash of the group.

    Rows that share a group are in one split, and so are rows that ask the same, and whatever hangs together by these
    two: one question asked in two groups joins them. Joined groups are held out only where the number of each says so
    for itself, else they are trained on; so data that joins groups may move examples to train. A row without a group
    goes by its question.

    Whatever is added to the data, an example that was assigned to train stays in train. For that a split that was asked
    for stays empty where the group nearest to it is joined to one that is not near.
    """
    assert keys.groups is not None  # noqa: S101 - the method asks for it
    has_group = find_grouped(keys.groups)
    numbers = hash_fractions(np.where(has_group, _key_hashes(keys.groups, config.seed), keys.prompts))
    joined = join_groups(keys.prompts, keys.groups, has_group)
    lowest, highest = np.ones(len(keys)), np.zeros(len(keys))
    np.minimum.at(lowest, joined, numbers)
    np.maximum.at(highest, joined, numbers)
    return _assign(numbers, lowest[joined], highest[joined], config)


def find_grouped(groups: Hashes) -> npt.NDArray[np.bool_]:
    """For each row, given the hash of its group, whether it has one."""
    has_group: npt.NDArray[np.bool_] = (groups != 0) & (groups != _EMPTY_GROUP)
    return has_group


def join_groups(prompts: Hashes, groups: Hashes, has_group: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Find what hangs together: rows of one group, and rows that ask the same.

    Args:
        prompts: For each row the hash of what it asks.
        groups: For each row the hash of its group.
        has_group: For each row whether it has one.

    Returns:
        `int32[n]`: for each row a number, the same for all that hang together.
    """
    from scipy.sparse import coo_array  # noqa: PLC0415  (slow to import; only this method needs it)
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    # A row stands for its group, and for itself where it has none; only equal questions are left to be joined.
    node = np.arange(len(prompts), dtype=np.int32)
    same_group = find_repeats(groups, has_group)
    node[same_group.again] = same_group.first
    same_prompt = find_repeats(prompts, np.ones(len(prompts), np.bool_))
    ends = node[same_prompt.again], node[same_prompt.first]
    del same_group, same_prompt
    graph = coo_array((np.ones(len(ends[0]), np.bool_), ends), shape=(len(node), len(node)))
    _, labels = connected_components(graph, directed=False)
    return np.asarray(labels, np.int32)[node]


def _key_hashes(hashes: Hashes, seed: int) -> Hashes:
    """Another hash for every seed: the output of SplitMix64 at the state that the hash and the seed give."""
    # Multiplied as an array: a scalar would warn that it wraps around.
    mixed: Hashes = hashes + np.full(1, seed + 1, np.uint64) * _GOLDEN_GAMMA
    for shift, factor in _MIXES:
        mixed = (mixed ^ (mixed >> shift)) * factor
    mixed ^= mixed >> _LAST_SHIFT
    return mixed


def _assign(numbers: _Numbers, lowest: _Numbers, highest: _Numbers, config: SplitConfig) -> Splits:
    """Hold out what lies below one limit and above another.

    The limits depend on the rows' own numbers alone, not on what is joined to what. With more rows they only move
    outwards, and of what is joined the lowest number only falls and the highest only rises: nothing that lies between
    the limits ever comes to lie beyond one.

    Args:
        numbers: The number of each row.
        lowest: Of each row the lowest number of all that it must stay with.
        highest: The highest.
        config: How much to hold out. A fraction that reaches no number at all is taken for a number of 1.
    """
    is_test = _is_below(numbers, highest, config.test)
    is_validation = _is_above(numbers, lowest, config.validation) & ~is_test
    splits = np.full(len(numbers), TRAIN, np.uint8)
    splits[is_validation] = VALIDATION
    splits[is_test] = TEST
    return splits


def _is_below(numbers: _Numbers, highest: _Numbers, share: float) -> npt.NDArray[np.bool_]:
    is_below: npt.NDArray[np.bool_]
    if (share < 1 and (share == 0 or (numbers < share).any())) or not len(numbers):
        is_below = highest < share
    else:
        place = min(max(int(share), 1), len(numbers)) - 1
        is_below = highest <= np.partition(numbers, place)[place]
    return is_below


def _is_above(numbers: _Numbers, lowest: _Numbers, share: float) -> npt.NDArray[np.bool_]:
    is_above: npt.NDArray[np.bool_]
    if (share < 1 and (share == 0 or (numbers >= 1 - share).any())) or not len(numbers):
        is_above = lowest >= 1 - share
    else:
        place = max(len(numbers) - max(int(share), 1), 0)
        is_above = lowest >= np.partition(numbers, place)[place]
    return is_above
