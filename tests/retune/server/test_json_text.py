"""JSON of clients within bounds: what is counted, and that nothing else changes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retune.server import json_input
from retune.server.json_input import TooManyValuesError, parse_json

TEXTS = st.text(st.sampled_from('ab"\\,[{:é\n'), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)


def n_signs(value: Any) -> int:
    """Commas and opening brackets outside of strings."""
    if not isinstance(value, list | dict):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(0, len(value) - 1) + sum(map(n_signs, inner))


@given(VALUES, st.integers(1, 7), st.booleans())
def test_values_are_counted_outside_of_strings_however_a_text_is_cut(value: Any, piece_bytes: int, ascii_only: bool):
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_input, "_PIECE_BYTES", piece_bytes)
        patch.setattr(json_input, "MAX_VALUES", max(0, n_signs(value)))
        assert parse_json(text) == value
        if n_signs(value):
            patch.setattr(json_input, "MAX_VALUES", n_signs(value) - 1)
            with pytest.raises(TooManyValuesError):
                parse_json(text)


@pytest.mark.parametrize("text", [b"", b"[", b"nul", b'"\\', b"\xff", "[1]".encode("utf-16")])
def test_what_is_not_json_is_a_value_error(text: bytes):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_a_byte_order_mark_is_passed_over():
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
