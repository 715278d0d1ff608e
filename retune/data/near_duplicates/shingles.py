"""How much two texts are alike: by the pairs of neighbouring words that they share."""

import re
from collections.abc import Iterable
from itertools import pairwise

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
