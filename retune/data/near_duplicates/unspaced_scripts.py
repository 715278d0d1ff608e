"""Words in scripts that put no spaces between words, taken apart for near-duplicate keys."""

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from retune.data.near_duplicates.shingles import UNSPACED, words_of
from retune.data.text.words import Words

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


def unspaced_pieces(words: Words, codes: npt.NDArray[np.int32]) -> dict[int, list[int]]:
    """Hashes of the pieces of each word that is in a script without spaces, by the word's index.

    Each character is a piece, as in `words_of`; what stands between them in other scripts is another.

    Args:
        words: Of all texts.
        codes: Indices of the words that are asked for.
    """
    values = words.different.buffers()[2]
    if values is None:
        return {}
    content = np.frombuffer(values, np.uint8)
    # In UTF-8 all of these scripts begin with such a byte, and hardly anything else does.
    if not ((content >= 0xE3) | ((content & 0xFE) == 0xE0)).any():
        return {}
    is_wanted = np.zeros(len(words.listed), np.bool_)
    is_wanted[codes] = True
    wanted = ((index, words.listed[index]) for index in np.flatnonzero(is_wanted).tolist())
    return {
        index: [*map(_hash_piece, words_of((word,)))]
        for index, word in wanted
        if not word.isascii() and UNSPACED.search(word)
    }


@lru_cache(maxsize=1 << 16)
def _hash_piece(piece: str) -> int:
    return zlib.crc32(piece.encode())


def put_pieces(
    codes: npt.NDArray[np.int32], offsets: Places, hashes: Hashes, pieces: Mapping[int, Sequence[int]]
) -> tuple[Hashes, Places]:
    """Hashes of the words of some texts, with the pieces of a word in its place where it has some.

    Args:
        codes: For each word of each text, in order, its index.
        offsets: One more than there are texts: where the words of each begin in `codes`.
        hashes: Of each different word.
        pieces: As from `unspaced_pieces`.

    Returns:
        The hashes, and where those of each text begin.
    """
    counts = np.ones(len(hashes), np.int64)
    counts[list(pieces)] = [len(hashed) for hashed in pieces.values()]
    starts = np.cumsum(counts) - counts
    flat = np.repeat(hashes, counts)
    for index, hashed in pieces.items():
        flat[starts[index] : starts[index] + len(hashed)] = hashed
    n_pieces = counts[codes]
    ends = np.concatenate(([0], np.cumsum(n_pieces)))
    return flat[np.repeat(starts[codes] - ends[:-1], n_pieces) + np.arange(ends[-1])], ends[offsets]
