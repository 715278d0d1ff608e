import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies._internal.core import DataObject

from retune.data.dataset.repeats import combine, find_repeats

HASHES = st.lists(st.sampled_from([0, 1, 2**32, 2**63, 2**64 - 1, 5, 6]), max_size=40)


def brute_force(values: list[int], wanted: list[bool]) -> list[tuple[int, int]]:
    first: dict[int, int] = {}
    pairs = [
        (index, first.setdefault(value, index))
        for index, (value, is_wanted) in enumerate(zip(values, wanted, strict=True))
        if is_wanted
    ]
    return [pair for pair in pairs if pair[0] != pair[1]]


@pytest.mark.parametrize("at_a_time", [1 << 20, 4])
@settings(deadline=None)
@given(data=st.data())
def test_repeats_are_those_of_a_dictionary(at_a_time: int, data: DataObject) -> None:
    values = data.draw(HASHES)
    wanted = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    found = find_repeats(np.array(values, np.uint64), np.array(wanted, np.bool_), at_a_time=at_a_time)
    assert list(zip(found.again.tolist(), found.first.tolist(), strict=True)) == brute_force(values, wanted)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from([0, 1, 2**64 - 1])] * 3), min_size=1))
def test_combined_hashes_are_equal_where_all_are(rows: list[tuple[int, int, int]]) -> None:
    columns = [np.array(column, np.uint64) for column in zip(*rows, strict=True)]
    combined = combine(columns).tolist()
    assert len(set(combined)) == len(set(rows))
    assert [combined.index(value) for value in combined] == [rows.index(row) for row in rows]
