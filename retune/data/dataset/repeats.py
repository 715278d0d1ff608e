"""Finds values that repeat among millions of hashes."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# Hashes are sorted a million at a time, so that memory hardly grows with their number.
_AT_A_TIME = 1 << 20
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Repeats(NamedTuple):
    """Where values come again.

    Attributes:
        again: `int64`, indices of the values that were there before, ascending.
        first: `int64`, for each the index where its value came first.
    """

    again: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Repeats":
        """Some of them."""
        return Repeats(self.again[chosen], self.first[chosen])


def find_repeats(
    hashes: npt.NDArray[np.uint64], wanted: npt.NDArray[np.bool_], *, at_a_time: int = _AT_A_TIME
) -> Repeats:
    """Find the values that come again.

    Args:
        hashes: Evenly spread over 64 bits, or nearly so.
        wanted: `bool`, of the same length: which of them to look at.
        at_a_time: How many are sorted at a time, about.
    """
    found = [_find_in(hashes, part) for part in partition(hashes, wanted, at_a_time=at_a_time)]
    again = np.concatenate([np.zeros(0, np.int64), *(repeats.again for repeats in found)])
    first = np.concatenate([np.zeros(0, np.int64), *(repeats.first for repeats in found)])
    order = np.argsort(again)
    return Repeats(again[order], first[order])


def partition(
    hashes: npt.NDArray[np.uint64], wanted: npt.NDArray[np.bool_], *, at_a_time: int = _AT_A_TIME
) -> Iterator[npt.NDArray[np.int64]]:
    """Cut the wanted ones into parts of about `at_a_time`, equal hashes in the same part.

    Returns:
        For each part the indices of its hashes, ascending.
    """
    bits = max(0, (len(hashes) - 1).bit_length() - (at_a_time - 1).bit_length())
    if not bits:
        yield np.flatnonzero(wanted)
        return
    for part in range(1 << bits):
        low, high = (np.uint64(bound) for bound in ((part << 64 - bits), ((part + 1) << 64 - bits) - 1))
        yield np.flatnonzero((hashes >= low) & (hashes <= high) & wanted)


def combine(hashes: Iterable[npt.NDArray[np.uint64]]) -> npt.NDArray[np.uint64]:
    """One hash for several: equal where all are equal, and else, but for one pair in 2**64, different.

    Args:
        hashes: Of the same length; as an iterator, few are in memory at a time. The first is changed.
    """
    columns = iter(hashes)
    combined = next(columns)
    for more in columns:
        combined ^= combined >> np.uint64(32)
        combined *= _MIX
        combined += more
    return combined


def _find_in(hashes: npt.NDArray[np.uint64], indices: npt.NDArray[np.int64]) -> Repeats:
    values = hashes[indices]
    order = np.argsort(values, kind="stable")
    values = values[order]
    is_new = np.ones(len(values), np.bool_)
    is_new[1:] = values[1:] != values[:-1]
    starts, repeats = np.flatnonzero(is_new), np.flatnonzero(~is_new)
    first = starts[np.searchsorted(starts, repeats, side="right") - 1]
    return Repeats(indices[order[repeats]], indices[order[first]])
