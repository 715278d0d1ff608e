"""Finds secrets and personal data before they are uploaded."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retune.data.problems.problems import Finding
from retune.data.text.arrow_arrays import index_array, text_bytes, text_offsets, true_places
from retune.data.text.words import Words
from retune.redaction.patterns import NAME_BEFORE, SUSPICIOUS_WORD, find_secrets

TITLES = {
    "private_key": ("a private key", "private keys"),
    "api_key": ("an API key or password", "API keys or passwords"),
    "card_number": ("a card number", "card numbers"),
    "email_address": ("an e-mail address", "e-mail addresses"),
}
"""What one and what several of each kind are called, in the order in which they are reported."""

_FEWEST_DIGITS = 13  # of a card number
_MOST_SHOWN = 4


# What a word alone says: it looks like a secret; it may be a group of a card number's digits; the word before it may
# be the secret's name.
_IS_SUSPICIOUS, _IS_GROUP, _MAY_FOLLOW_NAME = np.uint8(1), np.uint8(2), np.uint8(4)

# Every suspicious word has one of these marks, two hyphens, many digits, or more bytes than most words have.
_MARKS = b"@=:"
_LONG = 15
# 4111 1111 1111 1111, or 3782 822463 10005
_FEWEST_DIGITS_OF_GROUP = 4


def find_personal_data(texts: pa.StringArray, words: Words) -> Iterator[tuple[int, Finding]]:
    """Look at every different word once, and at the texts only where a word may be part of something.

    Of a kind there is one finding in a text, with the number of different ones that it holds. What was found is shown
    masked: its first characters, a quarter of it at most, and its length.

    Args:
        texts: No nulls.
        words: The same texts in words.

    Returns:
        Pairs of a text's index and what it holds; the indices ascend.
    """
    for index in _suspicious_texts(words).tolist():
        found: dict[str, list[str]] = {}
        for kind, secret in find_secrets(texts[index].as_py()):
            found.setdefault(kind, []).append(secret)
        for kind in TITLES:
            if kind in found:
                yield index, Finding(kind, _describe(kind, found[kind]))


def _describe(kind: str, secrets: list[str]) -> str:
    different = list(dict.fromkeys(secrets))
    one, several = TITLES[kind]
    found = one if len(different) == 1 else f"{len(different):,} {several}"
    if kind == "private_key":
        return f"holds {found}."
    return f"holds {found}{':' if found is one else ', the first'} {_mask(different[0])}."


def _mask(secret: str) -> str:
    return f"{secret[: min(_MOST_SHOWN, len(secret) // 4)]}… ({len(secret):,} characters)"


def _suspicious_texts(words: Words) -> npt.NDArray[np.int64]:
    """Indices of the texts in which something may be found: all in which something is, and few others."""
    flags = _flag(words.different)
    if not flags.any():
        return np.zeros(0, np.int64)
    places = np.flatnonzero(flags.astype(np.bool_).take(words.codes))
    flagged = flags[words.codes[places]]
    is_hit = (flagged & _IS_SUSPICIOUS) > 0
    # A year or an amount is a group of digits, too; but groups of a card number follow each other.
    is_group = (flagged & _IS_GROUP) > 0
    texts = np.searchsorted(words.first, places, side="right") - 1
    is_hit[1:] |= is_group[1:] & is_group[:-1] & (np.diff(places) == 1) & (np.diff(texts) == 0)
    follows = np.flatnonzero(((flagged & _MAY_FOLLOW_NAME) > 0) & (places > words.first[texts]))
    is_hit[follows[_are_names(words, words.codes[places[follows] - 1])]] = True
    found: npt.NDArray[np.int64] = np.unique(texts[is_hit])
    return found


def _are_names(words: Words, codes: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    different, inverse = np.unique(codes, return_inverse=True)
    are_names = [NAME_BEFORE.search(words.listed[code][-_LONG:]) is not None for code in different.tolist()]
    return np.array(are_names, np.bool_)[inverse]


def _flag(different: pa.StringArray) -> npt.NDArray[np.uint8]:
    """What each different word may be part of.

    Regular expressions cost more than all the rest, so they see only words that pass what NumPy finds in their bytes.
    """
    flags = np.zeros(len(different), np.uint8)
    if not len(different):
        return flags
    offsets = text_offsets(different)
    content = text_bytes(different)[offsets[0] : offsets[-1]]
    starts = offsets - offsets[0]
    digits = _count_in_words((content >= ord("0")) & (content <= ord("9")), starts)
    lengths = np.diff(starts)
    flags[digits >= _FEWEST_DIGITS_OF_GROUP] |= _IS_GROUP
    is_long = lengths >= _LONG
    is_looked_at = is_long | (digits >= _FEWEST_DIGITS)
    for mark in _MARKS:
        marked = np.searchsorted(starts, np.flatnonzero(content == mark), side="right") - 1
        is_looked_at[marked] = True
        flags[marked] |= _MAY_FOLLOW_NAME
    flags[is_long & (digits > 0)] |= _MAY_FOLLOW_NAME
    hyphens = np.flatnonzero(content == ord("-"))
    is_looked_at[np.searchsorted(starts, hyphens[1:][np.diff(hyphens) == 1], side="right") - 1] = True
    looked_at = np.flatnonzero(is_looked_at)
    matches = pc.match_substring_regex(different.take(index_array(looked_at)), SUSPICIOUS_WORD)
    flags[looked_at[true_places(matches)]] |= _IS_SUSPICIOUS
    return flags


def _count_in_words(is_wanted: npt.NDArray[np.bool_], starts: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    total = np.concatenate((np.zeros(1, np.int32), np.cumsum(is_wanted, dtype=np.int32)))
    counted: npt.NDArray[np.int32] = total[starts[1:]] - total[starts[:-1]]
    return counted
