"""Word pieces learned from the answers, with bytes to fall back on."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from retune.trainers.conditional_lm.messages import Turn

MAX_VOCABULARY = 4096
END_OF_TURN = 0

_FIRST_BYTE = 1
_FIRST_PIECE = _FIRST_BYTE + 256
_MAX_PIECES = MAX_VOCABULARY - _FIRST_PIECE
_MAX_WHOLE_WORDS = _MAX_PIECES * 3 // 4
_MAX_WORD_CHARACTERS = 64
_MAX_PART_CHARACTERS = 8
# Counting parts costs up to a kilobyte a character: so many of them stay under 200 MB.
_CHARACTERS_FOR_PARTS = 200_000

# A word takes one space before it along; signs between words stay together, so that JSON's `": "` is one piece.
_WORD = re.compile(r" ?\w+|[^\w]+?(?= ?\w)|[^\w]+")


class AnswerTokenizer:
    """Splits text into words, and words greedily into the longest known pieces, or bytes where none is known.

    Id 0 is the end of the turn, 1 to 256 are the bytes of UTF-8, the pieces follow. Any text has tokens, and decoding
    them gives it back.

    Args:
        pieces: The known pieces, in the order of their ids.

    Raises:
        ValueError: There are too many pieces, or one of them is empty or comes twice.
    """

    def __init__(self, pieces: Sequence[str] = ()) -> None:
        if len(pieces) > _MAX_PIECES or len(set(pieces)) != len(pieces) or "" in pieces:
            raise ValueError(f"expected at most {_MAX_PIECES} different, non-empty pieces; found {len(pieces)}")
        self.pieces = tuple(pieces)
        self._ids = {piece: _FIRST_PIECE + index for index, piece in enumerate(pieces)}
        self._longest = _longest_by_first_character(pieces)
        self._bytes = [b"", *(bytes([value]) for value in range(256)), *(piece.encode() for piece in pieces)]
        self._encode_cached = lru_cache(maxsize=1 << 14)(self._encode_word)

    @classmethod
    def learn(cls, texts: Iterable[str]) -> "AnswerTokenizer":
        """Learn the words that repeat, those that save most bytes first, and parts that spell the words left over."""
        words = Counter(word for text in texts for word in _WORD.findall(text))
        whole = _most_saving({word: n for word, n in words.items() if len(word) <= _MAX_WORD_CHARACTERS})
        whole = whole[:_MAX_WHOLE_WORDS]
        left_over = words.copy()
        for word in whole:
            del left_over[word]
        parts = _learn_parts(left_over, known=whole)
        return cls([*whole, *parts[: _MAX_PIECES - len(whole)]])

    def __len__(self) -> int:
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, the end of the turn not included."""
        # Longer words are keys and hashes that nobody repeats: they would only fill the cache.
        return [
            token
            for word in _WORD.findall(text)
            for token in (self._encode_cached if len(word) <= _MAX_WORD_CHARACTERS else self._encode_word)(word)
        ]

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of token ids. Bytes that are not UTF-8 become U+FFFD; the end of the turn is nothing."""
        return b"".join(map(self.bytes_of, tokens)).decode("utf-8", "replace")

    def bytes_of(self, token: int) -> bytes:
        """The bytes of one token; none of the end of the turn."""
        return self._bytes[token]

    def _encode_word(self, word: str) -> tuple[int, ...]:
        tokens: list[int] = []
        for piece in _split_greedily(word, self._ids, self._longest):
            known = self._ids.get(piece)
            tokens.extend([known] if known is not None else (_FIRST_BYTE + byte for byte in piece.encode()))
        return tuple(tokens)


def count_tokens(turns: Iterable[Turn], tokenizer: AnswerTokenizer) -> int:
    """Tokens of a conversation, counted the way the API bills: 1 + Σ (3 + tokens(role) + tokens(content))."""
    return 1 + sum(3 + len(tokenizer.encode(turn.role)) + len(tokenizer.encode(turn.text)) for turn in turns)


def _longest_by_first_character(pieces: Iterable[str]) -> dict[str, int]:
    longest: dict[str, int] = {}
    for piece in pieces:
        longest[piece[0]] = max(longest.get(piece[0], 0), len(piece))
    return longest


def _split_greedily(word: str, known: Mapping[str, int], longest: Mapping[str, int]) -> Iterator[str]:
    """Longest known pieces from left to right; a character that starts none stands alone.

    Args:
        word: What to split.
        known: The pieces.
        longest: Characters of the longest piece that begins with a character.
    """
    start = 0
    while start < len(word):
        end = min(len(word), start + longest.get(word[start], 1))
        while end > start + 1 and word[start:end] not in known:
            end -= 1
        end = max(end, start + 1)
        yield word[start:end]
        start = end


def _learn_parts(words: Mapping[str, int], *, known: Sequence[str]) -> list[str]:
    """Parts of words, those first that save most when the words are really split.

    Most frequent substrings lie inside longer frequent ones and would never be used: they are left out, which halves
    the vocabulary, and with it the time of a training step.
    """
    sample = _first_characters(words, _CHARACTERS_FOR_PARTS)
    counts: Counter[str] = Counter()
    for word, count in sample.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + _MAX_PART_CHARACTERS) + 1):
                counts[word[start:end]] += count
    pieces = dict.fromkeys([*known, *_most_saving(counts)[: 2 * _MAX_PIECES]], 0)
    longest = _longest_by_first_character(pieces)
    # Single characters stay in any case: in scripts with thousands of them each would else cost three bytes.
    used = Counter({part: count for part, count in counts.items() if len(part) == 1})
    for word, count in sample.items():
        for part in _split_greedily(word, pieces, longest):
            used[part] += count
    for word in known:
        del used[word]
    return _most_saving(used)


def _first_characters(words: Mapping[str, int], limit: int) -> dict[str, int]:
    sample: dict[str, int] = {}
    for word, count in words.items():
        if limit <= 0:
            break
        sample[word[:limit]] = count
        limit -= len(word)
    return sample


def _most_saving(counts: Mapping[str, int]) -> list[str]:
    """Texts that occur more than once, ordered by the tokens they save over spelling them in bytes."""
    savings = {text: count * (len(text.encode()) - 1) for text, count in counts.items() if count > 1}
    return sorted((text for text, saved in savings.items() if saved), key=lambda text: (-savings[text], text))
