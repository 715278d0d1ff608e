"""What was found out about words before: most come again and again."""

from collections.abc import Sequence
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


class KnownWords:
    """For each word, in one number, how many tokens it has and, in the lower 32 bits, its hash.

    Args:
        counter: None where nobody asks for tokens; then there are 0.
    """

    def __init__(self, counter: TokenCounter | None) -> None:
        self._counter = counter
        self._known: dict[str, int] = {}

    def look_up(self, words: Words) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """How many tokens each different word has, and its hash."""
        known = self._known
        new = [word for word in words.listed if word not in known]
        tokens = self._counter.count_words(new) if self._counter is not None else [0] * len(new)
        known.update(
            zip(new, (n << _HASH_BITS | hash_word(word) for n, word in zip(tokens, new, strict=True)), strict=True)
        )
        values = np.fromiter(map(known.__getitem__, words.listed), np.uint64, len(words.listed))
        self._forget(new)
        return (values >> np.uint64(_HASH_BITS)).astype(np.int64), values & np.uint64((1 << _HASH_BITS) - 1)

    def _forget(self, new: Sequence[str]) -> None:
        """Forget the new words that are not worth keeping, or too many."""
        room = len(new) - max(0, len(self._known) - _MOST_WORDS)
        for place, word in enumerate(new):
            if place >= room or len(word) > _LONGEST_WORD:
                del self._known[word]


@cache
def known_words(encoding: str | None) -> KnownWords:
    """What this process knows of words.

    Args:
        encoding: The tokenizer; None where nobody asks for tokens.
    """
    return KnownWords(None if encoding is None else token_counter(encoding))
