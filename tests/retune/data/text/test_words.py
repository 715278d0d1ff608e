from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.cost.tokens import token_counter
from retune.data.ingest.analyze_texts import known_words
from retune.data.text.words import cut_words

# Texts in which words, marks, line ends and all kinds of white space meet.
_PIECES = st.sampled_from(
    [
        *(
            "a",
            "It's",
            "word",
            "B",
            " ",
            "  ",
            "\n",
            "\t",
            "\r\n",
            "\u00a0",
            "\u3000",
            "\u2028",
            "\x0b",
            "\x85",
            "\x1c",
        ),
        *(".", ",", "'", "'s", '"', "/", "12345", "é", "中", "。", "😀", "\u200b", "\\", "-"),
    ]
)
TEXTS = st.lists(st.one_of(st.text(max_size=20), st.lists(_PIECES, max_size=15).map("".join)), max_size=8)


def arrow(texts: list[str]) -> pa.StringArray:
    return pa.array([text.encode(errors="replace").decode() for text in texts], pa.string())


def count_texts(column: pa.StringArray, encoding: str) -> npt.NDArray[Any]:
    words = cut_words(column)
    counts, _ = known_words(encoding).look_up(words)
    return words.sum_over_texts(counts)


@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
@settings(deadline=None)  # the first call loads the tokenizer
@given(texts=TEXTS)
def test_tokens_of_a_text_are_the_sum_of_its_words_tokens(encoding: str, texts: list[str]) -> None:
    counter = token_counter(encoding)
    column = arrow(texts)
    assert count_texts(column, encoding).tolist() == [counter.count(str(text)) for text in column.to_pylist()]


@given(texts=TEXTS)
def test_words_put_together_are_the_text(texts: list[str]) -> None:
    column = arrow(texts)
    words = cut_words(column)
    for index, text in enumerate(column.to_pylist()):
        codes = words.codes[words.first[index] : words.first[index + 1]]
        assert "".join(words.listed[code] for code in codes) == text


@given(texts=TEXTS, start=st.integers(0, 8), length=st.integers(0, 8))
def test_a_slice_of_a_column_is_cut_like_a_column_of_its_own(texts: list[str], start: int, length: int) -> None:
    column = arrow(texts)
    part = column.slice(min(start, len(column)), length)
    counter = token_counter("o200k_base")
    assert count_texts(part, "o200k_base").tolist() == [counter.count(str(text)) for text in part.to_pylist()]
