"""Finding examples that ask nearly the same, without comparing each with each."""

import zlib
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from retune.data.near_duplicates.unspaced_scripts import put_pieces, unspaced_pieces
from retune.data.text.words import Words

BANDS = 5
"""Two texts are compared where at least one of so many keys is the same."""

_ROWS_PER_BAND = 3
_SEED = 1
_MIX = np.uint64(0x9E3779B97F4A7C15)


def band_keys(words: Words, hashes: npt.NDArray[np.uint64], prompts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Keys for locality-sensitive hashing: texts that are nearly the same have at least one in common.

    MinHash over pairs of neighbouring words (characters, in scripts without spaces), without case and marks. Texts
    whose sets of pairs are alike to the degree s (Jaccard) share a key with the probability 1 - (1 - s**3)**5: 0.97
    at 0.8, 0.998 at 0.9, 0.08 at 0.25.

    Args:
        words: Of all texts.
        hashes: `hash_word` of each different word.
        prompts: `int64[n, 2]`: for each example, from which text to which (exclusive).

    Returns:
        `uint64[n, BANDS]`.
    """
    begin, end = words.first[prompts[:, 0]], words.first[prompts[:, 1]]
    offsets = np.concatenate(([0], np.cumsum(end - begin)))
    codes = _ranges(words.codes, begin, end, offsets)
    pieces = unspaced_pieces(words, codes)
    if pieces:
        tokens, offsets = put_pieces(codes, offsets, hashes, pieces)
    else:
        tokens = hashes.take(codes)
    pairs = tokens.copy()
    pairs[1:] += tokens[:-1] * _MIX
    # The first word of a text has no neighbour before it.
    first = offsets[:-1][offsets[1:] > offsets[:-1]]
    pairs[first] = tokens[first]
    return _sketch(pairs, offsets)


def hash_word(word: str) -> int:
    """32 bits, the same whatever its case and the marks around it."""
    return zlib.crc32(word.strip(" \t\r\n.,;:!?\"'()").lower().encode())


def load_minhash() -> Any:
    """Import what only the checks need."""
    from rensa import RMinHash  # noqa: PLC0415

    return RMinHash


def _sketch(hashes: npt.NDArray[np.uint64], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """MinHash of the sets that stand one after the other, a few of its values put together to each key."""
    n_values = BANDS * _ROWS_PER_BAND
    matrix = load_minhash().digest_matrix_from_flat_token_hashes(hashes, offsets.astype(np.uint64), n_values, _SEED)
    values = np.fromiter(chain.from_iterable(matrix.to_rows()), np.uint64, (len(offsets) - 1) * n_values)
    values = values.reshape(len(offsets) - 1, BANDS, _ROWS_PER_BAND)
    keys = np.zeros((len(values), BANDS), np.uint64)
    for row in range(_ROWS_PER_BAND):
        keys = keys * _MIX + values[:, :, row]
    return keys


def _ranges(
    values: npt.NDArray[np.int32],
    begin: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
) -> npt.NDArray[np.int32]:
    """The values at all places of the half-open ranges, one range after the other."""
    if len(begin) and (begin[1:] == end[:-1]).all():
        return values[begin[0] : end[-1]]
    places = np.repeat(begin - offsets[:-1], end - begin) + np.arange(offsets[-1])
    return values.take(places)
