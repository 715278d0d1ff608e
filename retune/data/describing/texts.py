"""What is found out about all texts of a block at once: tokens, near-duplicate keys, personal data."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retune.data.blocks import Finding
from retune.data.checks.near_duplicates import band_keys
from retune.data.checks.personal_data import find_personal_data
from retune.data.checks.text_faults import find_text_faults
from retune.data.describing.plan import Plan
from retune.data.tokens import token_counter
from retune.data.words import Words, cut_words


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


def examine_texts(texts: Texts, plan: Plan) -> TextFacts:
    """Cut the texts into words once, and find out from the words what the plan asks for."""
    if not (plan.checks or plan.counts_tokens):
        return TextFacts(np.zeros(len(texts), np.int64), None, [])
    words = cut_words(texts.values)
    tokens = np.zeros(len(texts), np.int64)
    if plan.counts_tokens:
        counts = token_counter(plan.encoding).count_texts(words)
        tokens = np.bincount(texts.owner, weights=counts, minlength=len(texts)).astype(np.int64)
    if not plan.checks:
        return TextFacts(tokens, None, [])
    return TextFacts(tokens, band_keys(words, texts.prompt), list(_find(texts, words)))


def _find(texts: Texts, words: Words) -> Iterator[tuple[int, Finding]]:
    for text, finding in find_personal_data(texts.values, words):
        yield int(texts.owner[text]), finding
    for text, finding in find_text_faults(texts.values):
        # Tools may well answer "None" or with a line end.
        if texts.is_written is None or texts.is_written[text] or finding.kind == "odd_characters":
            yield int(texts.owner[text]), finding
