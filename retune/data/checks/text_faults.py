"""What is wrong with texts by themselves: no value, characters that nobody typed, spaces around them.

Whole columns are looked at, odd characters in each different word once, and only texts that may be wrong one by one.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retune.data.problems.problems import Finding
from retune.data.text.arrow_arrays import index_array, text_array, text_bytes, text_offsets, true_places
from retune.data.text.words import Words
from retune.redaction.masking import shown, shown_part

# How Python, pandas, JavaScript, SQL and spreadsheets write that there is nothing, or that something went wrong.
NOT_VALUES = (
    *("nan", "NaN", "NAN", "-nan", "<NA>", "NaT", "None", "null", "NULL", "Null", "undefined", "[object Object]"),
    *("N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "#NAME?", "#REF!", "#VALUE!", "#DIV/0!", "#NULL!", "#NUM!"),
    *("#ERROR!", "#SPILL!", "#CALC!", "\\N", "(null)", "<null>"),
)
_LONGEST_NOT_VALUE = max(map(len, NOT_VALUES))

_ASCII_END = 0x80
_SPACE = 0x20
_LINE_CHARACTERS = (0x09, 0x0A, 0x0D)

# What odd characters begin with in UTF-8: a byte, those that may follow, and those that may follow it in turn.
_ANY = range(0x100)
_BEYOND_ASCII = range(_ASCII_END, 0x100)
_MARKS = (
    (0xC2, range(0x80, 0xA0), _ANY),  # controls
    (0xC3, (0x82, 0x83, 0xA2, 0xAF, 0xB0), _BEYOND_ASCII),  # Â Ã â ï ð, where UTF-8 was read as Latin-1
    (0xE2, (0x80, 0x81), (0x8B, 0xA0)),  # zero width space, word joiner
    (0xEF, (0xBB, 0xBF), (0xBF, 0xBD)),  # byte order mark, U+FFFD
)
# What bytes from 0x80 to 0xBF become in Windows-1252 and Latin-1. Some of it may end a sentence in capitals: “IRMÃ”.
_ENDS = "’”…–—»›"
_BYTE = "\u0080-\u00ba\u00bc-\u00bf€‚ƒ„†‡ˆ‰Š‹ŒŽ‘“•˜™šœžŸ"
_ODD = re.compile(
    # U+200C and U+200D join and part letters in some scripts, and make emoji of several.
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u0080-\u009f\u200b\u2060\ufeff\ufffd]"
    f"|Ã(?:[{_BYTE}]|[{_ENDS}](?=\\w))|Â[{_BYTE}{_ENDS}]|[âð][{_BYTE}{_ENDS}]{{2}}|ï»¿"
)
# Leading bytes of white space beyond ASCII, and bytes that it ends with.
_WIDE_SPACE_STARTS = (0xC2, 0xE1, 0xE2, 0xE3)
_WIDE_SPACE_ENDS = range(0x80, 0xB0)
_SHOWN_AROUND = 12


def find_text_faults(texts: pa.StringArray, words: Words) -> Iterator[tuple[int, Finding]]:
    """Look at many texts.

    Args:
        texts: Without nulls.
        words: The same texts in words.

    Returns:
        Pairs of a text's index and what is wrong with it: texts that stand for no value, then odd characters, then
        white space around texts, each in the order of the texts.
    """
    if not len(texts) or texts.buffers()[2] is None:
        return
    offsets = text_offsets(texts)
    content = text_bytes(texts)[: offsets[-1]]
    yield from _not_values(texts, offsets)
    yield from _odd_characters(texts, words)
    yield from _stray_whitespace(texts, offsets, content)


def _not_values(texts: pa.StringArray, offsets: npt.NDArray[np.int32]) -> Iterator[tuple[int, Finding]]:
    short = np.flatnonzero(np.diff(offsets) <= _LONGEST_NOT_VALUE)
    if not len(short):
        return
    chosen = texts if len(short) == len(texts) else texts.take(index_array(short))
    for place in true_places(pc.is_in(chosen, value_set=text_array(NOT_VALUES))).tolist():
        yield int(short[place]), Finding("not_a_value", f"a text is {shown(chosen[place].as_py())} and nothing else.")


def _odd_characters(texts: pa.StringArray, words: Words) -> Iterator[tuple[int, Finding]]:
    # No mark has a space in it, so none is cut apart.
    starts = text_offsets(words.different)
    content = text_bytes(words.different)[: starts[-1]]
    places = _places_of_marks(content[starts[0] :])
    if not len(places):
        return
    has_mark = np.zeros(len(words.different), np.bool_)
    has_mark[np.searchsorted(starts, places + starts[0], side="right") - 1] = True
    suspects = words.texts_with(has_mark)
    for index in suspects.tolist():
        text = texts[index].as_py()
        odd = _ODD.search(text)
        if odd is not None:
            yield index, Finding("odd_characters", _describe_odd(text, odd))


def _places_of_marks(content: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Where odd characters may be: cheap for the usual text, in which hardly any byte is out of the ordinary."""
    if not len(content):
        return np.zeros(0, np.int64)
    found = []
    if content.min() < _SPACE:
        low = content < _SPACE
        ordinary = sum(int(np.count_nonzero(content == character)) for character in _LINE_CHARACTERS)
        if np.count_nonzero(low) > ordinary:
            places = np.flatnonzero(low)
            found.append(places[~_is_among(content[places], _LINE_CHARACTERS)])
    highest = content.max()
    if highest >= _ASCII_END - 1:
        found.append(np.flatnonzero(content == _ASCII_END - 1))
    if highest >= _ASCII_END:
        padded = np.append(content, np.zeros(2, np.uint8))
        for lead, second, third in _MARKS:
            places = np.flatnonzero(content == lead)
            places = places[_is_among(padded[places + 1], second)]
            found.append(places[_is_among(padded[places + 2], third)])
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _is_among(content: npt.NDArray[np.uint8], wanted: Iterable[int]) -> npt.NDArray[np.bool_]:
    table = np.zeros(0x100, np.bool_)
    table[list(wanted)] = True
    return table[content]


def _describe_odd(text: str, odd: re.Match[str]) -> str:
    around = _visible(shown_part(text, max(0, odd.start() - _SHOWN_AROUND), odd.end() + _SHOWN_AROUND))
    character = odd[0]
    if len(character) > 1:
        return f"{around} looks like UTF-8 that was read in another encoding."
    code = f"U+{ord(character):04X}"
    if character == "\ufffd":
        return f"{around} holds {code}, which stands for what could not be decoded."
    name = unicodedata.name(character, "a control character").lower()
    return f"{around} holds {code} ({name}), which can't be seen."


def _stray_whitespace(
    texts: pa.StringArray, offsets: npt.NDArray[np.int32], content: npt.NDArray[np.uint8]
) -> Iterator[tuple[int, Finding]]:
    filled = np.flatnonzero(np.diff(offsets))
    first, last = content[offsets[filled]], content[offsets[filled + 1] - 1]
    may_be_space = (first <= _SPACE) | (last <= _SPACE)
    if first.max(initial=0) >= _ASCII_END or last.max(initial=0) >= _ASCII_END:
        may_be_space |= _is_among(first, _WIDE_SPACE_STARTS) | _is_among(last, _WIDE_SPACE_ENDS)
    suspects = filled[may_be_space]
    if not len(suspects):
        return
    chosen = texts.take(index_array(suspects))
    trimmed = pc.utf8_trim_whitespace(chosen)
    for place in true_places(pc.not_equal(chosen, trimmed)).tolist():
        yield int(suspects[place]), _describe_spaces(chosen[place].as_py(), trimmed[place].as_py())


def _describe_spaces(text: str, trimmed: str) -> Finding:
    before = text[: text.index(trimmed)]
    after = text[len(before) + len(trimmed) :]
    parts = [f"begins with {_visible(shown(before))}"] * bool(before)
    parts += [f"ends with {_visible(shown(after))}"] * bool(after)
    return Finding("stray_whitespace", f"the text {_visible(shown(trimmed))} {' and '.join(parts)}.")


def _visible(text: str) -> str:
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)
