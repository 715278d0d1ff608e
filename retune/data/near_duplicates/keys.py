"""Keys that find examples asking nearly the same, without comparing each with each."""

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from retune.data.dataset.columns import BANDS
from retune.data.text.arrow_arrays import buffer_numbers
from retune.data.text.words import Words

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


# Scripts that put no spaces between words: Thai and Lao, Burmese, Khmer, Japanese and Chinese, with their extensions.
_UNSPACED_RANGES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
UNSPACED = re.compile(f"[{_UNSPACED_RANGES}]")
_PIECE = re.compile(rf"[{_UNSPACED_RANGES}]|[^\W{_UNSPACED_RANGES}]+")
_NUMBER = re.compile(r"\d+")

_MOST_WORDS = 20_000


def words_of(texts: Iterable[str]) -> list[str]:
    """The words of some texts, one text after the other, without case and marks; at most the first 20,000.

    In scripts without spaces each character counts as a word, so that their pairs are the usual pairs of characters.
    """
    words: list[str] = []
    for text in texts:
        words += _PIECE.findall(text.lower())
        if len(words) >= _MOST_WORDS:
            break
    return words[:_MOST_WORDS]


def numbers_of(words: Iterable[str]) -> list[str]:
    """Every number in the words, in order."""
    return [number for word in words if not word.isalpha() for number in _NUMBER.findall(word)]


def without_numbers(words: Iterable[str]) -> list[str]:
    """The words with every number made the same."""
    return [word if word.isalpha() else _NUMBER.sub("0", word) for word in words]


def shingles(words: list[str]) -> set[tuple[str, str]]:
    """The pairs of neighbouring words; the first word also stands by itself."""
    return {("", words[0]), *pairwise(words)} if words else set()


def similarity(one: list[str], other: list[str]) -> float:
    """Jaccard similarity of two texts' shingles, 0 to 1: how many they share of all that either has."""
    here, there = shingles(one), shingles(other)
    common = len(here & there)
    return common / (len(here) + len(there) - common) if common else 0.0


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
    content = buffer_numbers(values, np.uint8)
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
