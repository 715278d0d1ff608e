"""Cutting many texts at once into words, each different word once, so that work is done a word and not a text.

The cuts are where OpenAI's tokenizers cut, too: their patterns (o200k_base and cl100k_base in tiktoken's
`tiktoken_ext/openai_public.py`) have no piece in which a space follows anything but white space. So tokens of a text
are the sum of its words' tokens, and most words come again and again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retune.data.text.arrow_arrays import buffer_numbers, different_texts, listed, text_array, text_offsets

_SPACE = 0x20
_ASCII_END = 0x80
# The last bytes, in UTF-8, of the white space beyond ASCII. Other characters end with them too: those words are longer
# than they need be, and no less right.
_ENDS_OF_WIDE_SPACES = (*range(0x80, 0x8B), 0x9F, 0xA0, 0xA8, 0xA9, 0xAF)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of some texts, with the space before each.

    Attributes:
        different: `pa.string()`: each different word once.
        listed: The same as Python's text.
        codes: `int32`: for every word of every text, in order, its index in `different`.
        first: `int64`, one more than there are texts: where the words of each text begin in `codes`.
    """

    different: pa.StringArray
    listed: list[str]
    codes: npt.NDArray[np.int32]
    first: npt.NDArray[np.int64]

    def sum_over_texts(self, values: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        """Add up, for each text, the values of its words.

        Args:
            values: One for each of `different`.
        """
        total = np.zeros(len(self.first) - 1, np.int64)
        is_filled = self.first[1:] > self.first[:-1]
        total[is_filled] = np.add.reduceat(values.take(self.codes), self.first[:-1][is_filled], dtype=np.int64)
        return total

    def texts_with(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Indices of the texts that have some of the words, ascending.

        Args:
            chosen: One for each of `different`.
        """
        places = np.flatnonzero(chosen.take(self.codes))
        texts: npt.NDArray[np.int64] = np.unique(np.searchsorted(self.first, places, side="right") - 1)
        return texts


def cut_words(texts: pa.StringArray) -> Words:
    """Cut texts (no nulls) at every space that follows something other than white space."""
    offsets = text_offsets(texts)
    values = texts.buffers()[2]
    if values is None or offsets[-1] == offsets[0]:
        return Words(text_array([]), [], np.zeros(0, np.int32), np.zeros(len(texts) + 1, np.int64))
    content = buffer_numbers(values, np.uint8)[: offsets[-1]]
    text = content[offsets[0] :]
    before = np.flatnonzero((text[1:] == _SPACE) & (text[:-1] > _SPACE)).astype(np.int32) + offsets[0]
    if content.max() >= _ASCII_END:
        before = before[_CAN_STAND_BEFORE_A_CUT[content[before]]]
    cuts = before + 1
    starts, first = _merge(cuts, offsets)
    bounds = np.append(starts, offsets[-1])
    different, codes = different_texts(pa.StringArray.from_buffers(len(starts), pa.py_buffer(bounds.data), values))
    return Words(different, listed(different), codes, first)


def _merge(
    cuts: npt.NDArray[np.int32], offsets: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Where words start, within texts and with them; and how many words start before each text."""
    begins = offsets[:-1][np.diff(offsets) > 0]
    places = np.searchsorted(cuts, begins)
    # A text that starts with a space may have been cut there already.
    twice = places[cuts.take(places, mode="clip") == begins] if len(cuts) else places[:0]
    if len(twice):
        cuts = np.delete(cuts, twice)
        places = np.searchsorted(cuts, begins)
    starts = np.insert(cuts, places, begins)
    return starts, np.searchsorted(starts, offsets)


def _bytes_before_a_cut() -> npt.NDArray[np.bool_]:
    allowed = np.ones(256, np.bool_)
    allowed[: _SPACE + 1] = False
    allowed[list(_ENDS_OF_WIDE_SPACES)] = False
    return allowed


_CAN_STAND_BEFORE_A_CUT = _bytes_before_a_cut()
