"""Showing people what was found in their data, never with a secret in it: messages go into reports and logs."""

import json
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

from retune.redaction.patterns import find_secrets

MOST_NAMED = 100
"""Columns and keys that are kept for a list of them; a source may have thousands."""

_MOST_CHARACTERS_SHOWN = 60
# More is searched than is shown, so that a secret shown in part is recognized: this many characters on both sides, then
# up to white space, and where a private key begins.
_LOOKED_AT_AROUND, _LONGEST_WORD, _LONGEST_PRIVATE_KEY = 64, 4_096, 20_000
_LONGEST_REMEMBERED = 256
_SPACE = re.compile(r"\s")


def shown(value: Any) -> str:
    """A value as JSON, short enough for a message, with the kind of each secret in its place: "my key is [api_key]"."""
    if isinstance(value, str):
        return shown_part(value, 0)
    try:
        text = json.dumps(_masked_inside(value), ensure_ascii=False, default=repr)
    except RecursionError:
        text = f"{type(value).__name__} nested too deeply to show"
    # Once more: the name of a password may be a key, and the password its value.
    return _shorten(masked(text, 0, 2 * _MOST_CHARACTERS_SHOWN))


def shown_part(text: str, begin: int, end: int | None = None) -> str:
    """A part of a text, shown as `shown` does; of a secret that the part cuts through nothing is left."""
    # A text may be an image of ten megabytes.
    last = begin + 2 * _MOST_CHARACTERS_SHOWN
    part = masked(text, begin, last if end is None else min(end, last))
    return _shorten(json.dumps(part, ensure_ascii=False))


def masked(text: str, begin: int = 0, end: int | None = None) -> str:
    """`text[begin:end]`, with the kind of each secret that lies in it, or reaches into it, in its place."""
    end = len(text) if end is None else min(end, len(text))
    return _masked(text, begin, end) if len(text) > _LONGEST_REMEMBERED else _masked_again(text, begin, end)


def _masked(text: str, begin: int, end: int) -> str:
    first = _first_looked_at(text, begin)
    last = min(len(text), end + _LOOKED_AT_AROUND)
    space = _SPACE.search(text, last, last + _LONGEST_WORD)
    last = space.start() if space else last + _LONGEST_WORD
    pieces: list[str] = []
    place = begin
    for start, stop, kind in _secrets(text[first:last]):
        if first + stop > place and first + start < end:
            pieces += (text[place : first + start], f"[{kind}]")
            place = first + stop
    return "".join((*pieces, text[place:end]))


# The same faults come a million times, with the same few values.
_masked_again = lru_cache(maxsize=4_096)(_masked)


def listed(names: Collection[str]) -> str:
    """Names one after the other; "none" where there are none."""
    return ", ".join(map(masked, names)) or "none"


def _secrets(text: str) -> Iterator[tuple[int, int, str]]:
    """Where secrets begin and end, everywhere that they stand, in the order of the text."""
    different = dict.fromkeys(find_secrets(text))
    return iter(
        sorted(
            (match.start(), match.end(), kind)
            for kind, secret in different
            for match in re.finditer(re.escape(secret), text)
        )
    )


def _first_looked_at(text: str, begin: int) -> int:
    around = max(0, begin - _LOOKED_AT_AROUND)
    before = text[max(0, around - _LONGEST_WORD) : around]
    first = around - len(before.split()[-1]) if before and not before[-1].isspace() else around
    key = text.rfind("-----BEGIN ", max(0, begin - _LONGEST_PRIVATE_KEY), begin)
    return first if key < 0 else min(first, key)


def _masked_inside(value: object) -> object:
    if isinstance(value, str):
        return masked(value, 0, 2 * _MOST_CHARACTERS_SHOWN)
    if isinstance(value, dict):
        return {_masked_inside(key): _masked_inside(item) for key, item in value.items()}
    return [_masked_inside(item) for item in value] if isinstance(value, list | tuple) else value


def _shorten(text: str) -> str:
    # A report travels as UTF-8, which has no lone surrogates.
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= _MOST_CHARACTERS_SHOWN else f"{text[: _MOST_CHARACTERS_SHOWN - 1]}…"
