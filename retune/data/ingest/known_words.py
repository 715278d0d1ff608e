"""What was found out about words before: most come again and again."""

from collections.abc import Sequence
from functools import cache
from itertools import islice

import numpy as np
import numpy.typing as npt

from retune.data.cost.tokens import TokenCounter, token_counter
from retune.data.near_duplicates.keys import hash_word
from retune.data.text.words import Words

# About 25 MB; longer words hardly come twice.
_MOST_WORDS = 200_000
_LONGEST_WORD, _LONGEST_NUMBER = 64, 6

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
        values = list(map(self._known.get, words.listed))
        places = [place for place, value in enumerate(values) if value is None]
        new = [words.listed[place] for place in places]
        tokens = self._counter.count_words(new) if self._counter is not None else [0] * len(new)
        found = [n << _HASH_BITS | hash_word(word) for n, word in zip(tokens, new, strict=True)]
        for place, value in zip(places, found, strict=True):
            values[place] = value
        self._keep(new, found)
        both = np.array(values, np.uint64)
        return (both >> np.uint64(_HASH_BITS)).astype(np.int64), both & np.uint64((1 << _HASH_BITS) - 1)

    def _keep(self, new: Sequence[str], found: Sequence[int]) -> None:
        """Keep what was found of words that may come again: numbers hardly do, and would crowd out the others."""
        room = max(0, _MOST_WORDS - len(self._known))
        worth = (
            (word, value)
            for word, value in zip(new, found, strict=True)
            if len(word) <= (_LONGEST_NUMBER if word[-2:-1].isdigit() else _LONGEST_WORD)
        )
        self._known.update(islice(worth, room))


@cache
def known_words(encoding: str | None) -> KnownWords:
    """What this process knows of words.

    Args:
        encoding: The tokenizer; None where nobody asks for tokens.
    """
    return KnownWords(None if encoding is None else token_counter(encoding))
