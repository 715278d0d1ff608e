"""What was found out about words before: most come again and again."""

from functools import cache

import numpy as np
import numpy.typing as npt

from retune.data.checks.near_duplicates import hash_word
from retune.data.tokens import TokenCounter, token_counter
from retune.data.words import Words

# About 25 MB; longer words hardly come twice.
_MOST_WORDS = 200_000
_LONGEST_WORD = 64

_HASH_BITS = 32


class KnownWords(dict[str, int]):
    """For each word, in one number, how many tokens it has and, in the lower 32 bits, its hash.

    A dictionary that finds out what it misses: finding a word costs no call of a Python function.

    Args:
        counter: None where nobody asks for tokens; then there are 0.
    """

    def __init__(self, counter: TokenCounter | None) -> None:
        super().__init__()
        self._counter = counter

    def __missing__(self, word: str) -> int:
        tokens = 0 if self._counter is None else self._counter.count(word)
        value = tokens << _HASH_BITS | hash_word(word)
        if len(word) <= _LONGEST_WORD and len(self) < _MOST_WORDS:
            self[word] = value
        return value

    def look_up(self, words: Words) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """How many tokens each different word has, and its hash."""
        values = np.fromiter(map(self.__getitem__, words.listed), np.uint64, len(words.listed))
        return values >> np.uint64(_HASH_BITS), values & np.uint64((1 << _HASH_BITS) - 1)


@cache
def known_words(encoding: str | None) -> KnownWords:
    """What this process knows of words.

    Args:
        encoding: The tokenizer; None where nobody asks for tokens.
    """
    return KnownWords(None if encoding is None else token_counter(encoding))
