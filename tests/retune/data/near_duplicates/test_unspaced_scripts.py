import zlib

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.near_duplicates.keys import put_pieces, unspaced_pieces, words_of
from retune.data.text.words import cut_words

TEXTS = st.lists(
    st.lists(st.sampled_from(["card", "卡丢了", "help!", "カード", "ไทย", "ü", "😀"]), max_size=6).map(" ".join)
)


def crc(word: str) -> int:
    return zlib.crc32(word.encode())


@settings(deadline=None)
@given(TEXTS)
def test_the_pieces_of_texts_are_their_words(texts: list[str]) -> None:
    words = cut_words(pa.array(texts, pa.string()))
    hashes = np.array([crc(" ".join(words_of((word,)))) for word in words.listed], np.uint64)
    found, first = put_pieces(words.codes, words.first, hashes, unspaced_pieces(words, words.codes))
    pieces = [found[first[index] : first[index + 1]].tolist() for index in range(len(texts))]
    # A smiley is a word without letters: it has a hash here, and is none of a text's words.
    assert [[piece for piece in some if piece != crc("")] for some in pieces] == [
        [crc(word) for word in words_of((text,))] for text in texts
    ]


def test_other_scripts_have_no_pieces() -> None:
    for texts in (["Grüße – “Ciao”", "привет", ""], []):
        words = cut_words(pa.array(texts, pa.string()))
        assert unspaced_pieces(words, words.codes) == {}
