"""What is found out about all texts of a block at once: tokens, near-duplicate keys, personal data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retune.data.checks.personal_data import find_personal_data
from retune.data.checks.text_faults import find_text_faults
from retune.data.cost.tokens import TokenCounter, token_counter
from retune.data.ingest.plan import Plan
from retune.data.near_duplicates.keys import band_keys, hash_word
from retune.data.problems.problems import Finding
from retune.data.text.arrow_arrays import text_array
from retune.data.text.words import Words, cut_words

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


# Tools may well answer "None" or with a line end.
_FAULTS_OF_WRITING = ("not_a_value", "stray_whitespace")


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a block's examples.

    Attributes:
        values: `pa.string()`, no nulls: contents of messages and whatever else the model reads.
        owner: `int64`: which example of the block each text belongs to.
        prompt: `int64[n, 2]`: for each example, from which text to which (exclusive) it asks; without system prompts.
        is_written: `bool`: for each text, whether it was written by people or models, and not by programs such as
            tools; None where all of them were.
    """

    values: pa.StringArray
    owner: npt.NDArray[np.int64]
    prompt: npt.NDArray[np.int64]
    is_written: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.prompt)

    def written(self) -> npt.NDArray[np.bool_]:
        """`is_written`, also where all texts were."""
        return np.ones(len(self.values), np.bool_) if self.is_written is None else self.is_written


@dataclass(frozen=True, slots=True)
class TextFacts:
    """What was found.

    Attributes:
        tokens: `int64[n]`, of each example's texts.
        bands: `uint64[n, bands]`; None where checks are off.
        findings: Pairs of an example's index and what its texts hold that should not leave the building.
    """

    tokens: npt.NDArray[np.int64]
    bands: npt.NDArray[np.uint64] | None
    findings: list[tuple[int, Finding]]


def analyze_texts(texts: Texts, plan: Plan) -> TextFacts:
    """Cut the texts into words once, and find out from the words what the plan asks for."""
    if not (plan.checks or plan.counts_tokens):
        return TextFacts(np.zeros(len(texts), np.int64), None, [])
    words = cut_words(texts.values)
    counts, hashes = known_words(plan.encoding if plan.counts_tokens else None).look_up(words)
    tokens = np.bincount(texts.owner, weights=words.sum_over_texts(counts), minlength=len(texts)).astype(np.int64)
    if not plan.checks:
        return TextFacts(tokens, None, [])
    bands = band_keys(words, hashes, texts.prompt)
    findings = _find(texts, words, plan.row_format.fixed_system)
    if plan.completes_prompts:
        # A completion begins with a space as a rule, and ends with a stop sequence that may be a line end.
        findings = (pair for pair in findings if pair[1].kind != "stray_whitespace")
    return TextFacts(tokens, bands, list(findings))


def analyze_instructions(plan: Plan) -> list[Finding]:
    """Find out what is wrong with the system prompt that all examples share: once, and not with every example."""
    if plan.row_format.fixed_system is None:
        return []
    values = text_array([plan.row_format.fixed_system])
    text = Texts(values, owner=np.zeros(1, np.int64), prompt=np.zeros((1, 2), np.int64))
    return [finding for _, finding in _find(text, cut_words(values), None)]


def _find(texts: Texts, words: Words, known: str | None) -> Iterator[tuple[int, Finding]]:
    for text, finding in chain(find_personal_data(texts.values, words), find_text_faults(texts.values, words)):
        if known is not None and texts.values[text].as_py() == known:
            continue
        if texts.is_written is None or texts.is_written[text] or finding.kind not in _FAULTS_OF_WRITING:
            yield int(texts.owner[text]), finding
