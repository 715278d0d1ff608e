"""Conversations as sparse vectors: hashed word and character n-grams, weighted by TF-IDF."""

import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from retune.trainers.conditional_lm.messages import Turn
from retune.trainers.interruption import checkpoint

N_BUCKETS = 1 << 16

Buckets = NDArray[np.uint16]
Weights = NDArray[np.float32]

_EARLIER_TURNS_SCALE = 0.5
_CHARACTER_NGRAMS = (3, 4, 5)
_LONGEST_CACHED_RUN = 64
_NGRAMS_BETWEEN_CHECKPOINTS = 4096

# Scripts written without spaces, from Thai to Khmer, kana and Han: each character counts as a word of its own.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
)
# "!" and "?" are words too: they tell a complaint from a question.
_RUN = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])\w)+|[!?]+")
_UNSPACED_START = re.compile(f"[{_UNSPACED}]")


@dataclass(frozen=True, slots=True)
class FeatureCounts:
    """How often each bucket occurs in a conversation.

    Attributes:
        last_user_turn: Buckets, each once, and their counts.
        earlier_turns: The same of everything else in the conversation.
    """

    last_user_turn: tuple[Buckets, Weights]
    earlier_turns: tuple[Buckets, Weights]

    def buckets(self) -> Buckets:
        """Every bucket that occurs, each once."""
        return np.union1d(self.last_user_turn[0], self.earlier_turns[0])


def count_features(conversation: Sequence[Turn]) -> FeatureCounts:
    """Count the hashed features of a conversation.

    Of the last user turn: word 1–2-grams and in-word character 3–5-grams; in scripts without spaces a character is a
    word. Of all other turns: their words, tagged with the role that said them.
    """
    last = max((index for index, turn in enumerate(conversation) if turn.role == "user"), default=None)
    current = () if last is None else _ngram_buckets(conversation[last].text)
    earlier = (turn for index, turn in enumerate(conversation) if index != last)
    return FeatureCounts(_count(current), _count(_tagged_word_buckets(earlier)))


@dataclass(frozen=True, slots=True)
class FeatureWeights:
    """TF-IDF weights, fitted to training conversations.

    Attributes:
        n_documents: How many conversations were counted.
        document_counts: In how many of them each bucket occurred; uint32, shape (N_BUCKETS,).
    """

    n_documents: int
    document_counts: NDArray[np.uint32]

    @classmethod
    def fit(cls, documents: Iterable[FeatureCounts], base: "FeatureWeights | None" = None) -> "FeatureWeights":
        """Count documents, on top of those that `base` has counted."""
        counts = np.zeros(N_BUCKETS, np.uint32) if base is None else base.document_counts.copy()
        n_documents = 0 if base is None else base.n_documents
        for document in documents:
            counts[document.buckets()] += 1
            n_documents += 1
        return cls(n_documents, counts)

    def weigh(self, features: FeatureCounts) -> tuple[Buckets, Weights]:
        """Turn counts into weights, (1 + ln tf) · idf, each of the two groups scaled to a fixed Euclidean length.

        Buckets that no training conversation had are left out, as a TF-IDF vectorizer leaves out unknown words.
        """
        # ln((1+n)/(1+df)) + 1 is scikit-learn's smooth idf. Without the 1, what every conversation has in common,
        # such as a system prompt, weighs nothing in the earlier turns.
        current = self._weigh_group(*features.last_user_turn, offset=1.0, length=1.0)
        earlier = self._weigh_group(*features.earlier_turns, offset=0.0, length=_EARLIER_TURNS_SCALE)
        if not earlier[0].size:
            return current
        buckets, positions = np.unique(np.concatenate([current[0], earlier[0]]), return_inverse=True)
        weights = np.bincount(positions, np.concatenate([current[1], earlier[1]]))
        return buckets, weights.astype(np.float32)

    def _weigh_group(
        self, buckets: Buckets, counts: Weights, *, offset: float, length: float
    ) -> tuple[Buckets, Weights]:
        known = self.document_counts[buckets]
        idf = np.log((1 + self.n_documents) / (1 + known)) + offset
        weights = np.where(known > 0, (1 + np.log(counts)) * idf, 0.0)
        kept = weights > 0
        buckets, weights = buckets[kept], weights[kept]
        norm = float(np.sqrt(weights @ weights))
        return buckets, (weights * (length / norm) if norm else weights).astype(np.float32)


def _count(buckets: Iterable[int]) -> tuple[Buckets, Weights]:
    unique, counts = np.unique(np.fromiter(buckets, np.uint16), return_counts=True)
    return unique, counts.astype(np.float32)


def _ngram_buckets(text: str) -> Iterator[int]:
    words: list[str] = []
    for run in _runs(text):
        checkpoint()
        words.extend(_words_of(run))
        if not _UNSPACED_START.match(run):
            # Long runs are keys and hashes that nobody repeats: they would only fill the cache.
            if len(run) <= _LONGEST_CACHED_RUN:
                yield from _buckets_of_short_run(run)
            else:
                yield from _character_ngram_buckets(run)
    yield from (_bucket(f"w {word}") for word in words)
    yield from (_bucket(f"w {first} {second}") for first, second in pairwise(words))


def _tagged_word_buckets(turns: Iterable[Turn]) -> Iterator[int]:
    for turn in turns:
        for run in _runs(turn.text):
            yield from (_bucket(f"{turn.role} {word}") for word in _words_of(run))


def _runs(text: str) -> list[str]:
    return _RUN.findall(unicodedata.normalize("NFKC", text).lower())


def _words_of(run: str) -> Iterable[str]:
    return run if _UNSPACED_START.match(run) else (run,)


@lru_cache(maxsize=1 << 15)
def _buckets_of_short_run(run: str) -> tuple[int, ...]:
    return tuple(_character_ngram_buckets(run))


def _character_ngram_buckets(run: str) -> Iterator[int]:
    padded = f"<{run}>"
    for length in _CHARACTER_NGRAMS:
        for start in range(len(padded) - length + 1):
            if start % _NGRAMS_BETWEEN_CHECKPOINTS == 0:
                checkpoint()
            yield _bucket(f"c {padded[start : start + length]}")


def _bucket(feature: str) -> int:
    # CRC-32 is the same in every process, which Python's own hash is not.
    return zlib.crc32(feature.encode()) & (N_BUCKETS - 1)
