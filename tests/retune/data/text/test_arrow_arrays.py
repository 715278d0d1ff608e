import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.text.arrow_arrays import different_texts, index_array, mask_array, text_array, text_scalar, true_places


@settings(deadline=None)  # the first call of Arrow's own way imports pandas
@given(texts=st.lists(st.text()))
def test_texts_are_as_arrow_makes_them(texts: list[str]) -> None:
    expected = pa.array([text.encode(errors="surrogatepass").decode(errors="replace") for text in texts], pa.string())
    assert text_array(texts).equals(expected)


@settings(deadline=None)
@given(flags=st.lists(st.booleans()))
def test_masks_are_as_arrow_makes_them_and_come_back(flags: list[bool]) -> None:
    mask = mask_array(np.array(flags, np.bool_))
    assert mask.equals(pa.array(flags, pa.bool_()))
    assert true_places(mask).tolist() == [place for place, flag in enumerate(flags) if flag]


@settings(deadline=None)
@given(indices=st.lists(st.integers(0, 2**40)))
def test_indices_are_as_arrow_makes_them(indices: list[int]) -> None:
    assert index_array(np.array(indices, np.int64)).equals(pa.array(indices, pa.int64()))


@settings(deadline=None)
@given(texts=st.lists(st.text(max_size=3)), start=st.integers(0, 5), length=st.integers(0, 20))
def test_different_texts_and_their_places_give_the_texts_again(texts: list[str], start: int, length: int) -> None:
    part = pa.array(texts, pa.string()).slice(start, length)
    different, places = different_texts(part)
    assert [different[int(place)].as_py() for place in places] == part.to_pylist()
    assert len(set(different.to_pylist())) == len(different)


def test_a_text_to_compare_with() -> None:
    assert pc.equal(text_array(["a", "b"]), text_scalar("b")).to_pylist() == [False, True]


def test_examples_are_described_without_what_is_slow_to_import() -> None:
    program = """
import sys
from retune.config import DataConfig, SplitConfig
from retune.data.ingest.analyze import analyze_block
from retune.data.ingest.plan import Plan
from retune.data.formats.detect import choose_format
from retune.data.sources.open import open_source
import pickle
data = DataConfig(source="examples/support_tickets.csv", user_column="message", assistant_column="answer")
source = open_source(data)
plan = Plan(tuple(source.files), choose_format(source, data, SplitConfig(), "supervised"), "supervised", "openai",
            "o200k_base", SplitConfig())
blocks = list(source.blocks())
print("pandas" in sys.modules)
analyzed = [analyze_block(block, plan) for block in blocks]
print(sum(map(len, analyzed)), "pandas" in sys.modules, "bpe_openai" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["False", "1450", "False", "False"], done.stderr
