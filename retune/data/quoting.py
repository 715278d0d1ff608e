"""Showing people what was found in their data."""

import json
from collections.abc import Collection
from typing import Any

_MOST_CHARACTERS_SHOWN = 60


def shown(value: Any) -> str:
    """A value as JSON, short enough for a message."""
    # A text may be an image of ten megabytes.
    value = value[: 2 * _MOST_CHARACTERS_SHOWN] if isinstance(value, str) else value
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except RecursionError:
        text = f"{type(value).__name__} nested too deeply to show"
    # A report travels as UTF-8, which has no lone surrogates.
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= _MOST_CHARACTERS_SHOWN else f"{text[: _MOST_CHARACTERS_SHOWN - 1]}…"


def listed(names: Collection[str]) -> str:
    """Names one after the other; "none" where there are none."""
    return ", ".join(names) or "none"
