"""Safe fixes of one example."""

import re
from typing import Any

from retune.data.problems.rules import Change
from retune.training_lines.keys import INSTRUCTION_ROLES, JsonMapping, JsonObject

CHANGES: dict[Change, tuple[str, str]] = {
    "byte_order_mark_removed": ("byte order mark", "removed"),
    "line_ends_replaced": ("place", "with Windows line ends made plain"),
    "empty_system_dropped": ("example", "without its empty system message"),
    "ending_dropped": ("example", "cut after the last answer"),
    "other_keys_dropped": ("example", "without keys that no training file has"),
    "empty_keys_dropped": ("example", "without keys that hold nothing"),
    "trimmed": ("example", "trimmed"),
    "empty_dropped": ("empty row", "dropped"),
    "total_dropped": ("total", "below a table dropped"),
    "failed_call_dropped": ("failed call", "dropped"),
    "duplicate_dropped": ("exact duplicate", "dropped"),
    "overlap_dropped": ("question", "dropped that a split held out from it has, too"),
}
"""What is counted for each change, and what was done to it."""

_OUTPUTS = ("preferred_output", "non_preferred_output")
# All carriage returns of "\r\r\n": else the fixed text would have something to fix.
_WINDOWS_LINE_END = re.compile(r"\r+\n")


def fix_example(body: JsonObject) -> dict[Change, list[int]]:
    """Trim the contents of all messages, and replace Windows line ends in them; the example is changed in place.

    Returns:
        What was done, and to which messages, counted from 1.
    """
    done: dict[Change, list[int]] = {}
    for number, message in enumerate(_messages(body), start=1):
        texts = _texts(message)
        plain = [_WINDOWS_LINE_END.sub("\n", holder[key]) for holder, key in texts]
        trimmed = _trim(plain)
        if plain != [holder[key] for holder, key in texts]:
            done.setdefault("line_ends_replaced", []).append(number)
        if trimmed != plain:
            done.setdefault("trimmed", []).append(number)
        for (holder, key), text in zip(texts, trimmed, strict=True):
            holder[key] = text
    return done


def _texts(message: Any) -> list[tuple[JsonObject, str]]:
    """Where the texts of a message stand: its content, or the text parts of it."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [(message, "content")]
    parts = content if isinstance(content, list) else []
    return [(part, "text") for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]


def _trim(texts: list[str]) -> list[str]:
    """Trim where they begin and end together. Of several, none becomes empty: the API takes no empty part."""
    if len(texts) == 1:
        return [texts[0].strip()]
    trimmed = list(texts)
    if trimmed and trimmed[0].strip() and trimmed[-1].strip():
        trimmed[0] = trimmed[0].lstrip()
        trimmed[-1] = trimmed[-1].rstrip()
    return trimmed


def is_empty(body: JsonMapping) -> bool:
    """Whether there is nothing in it: instructions at most, and nobody says anything."""
    beside = [value for key, value in body.items() if key not in {"messages", "input", *_OUTPUTS}]
    messages = _messages(body)
    has_a_conversation = not body or "messages" in body or "input" in body
    return has_a_conversation and not any(beside) and not any(map(_says_something, messages))


def _messages(body: JsonMapping) -> list[object]:
    """All messages, in the order of the example; whatever else stands in their place is passed on."""
    question = body["input"].get("messages") if isinstance(body.get("input"), dict) else None
    places = (body.get("messages"), question, *(body.get(name) for name in _OUTPUTS))
    return [message for place in places if isinstance(place, list) for message in place]


def _says_something(message: object) -> bool:
    if not isinstance(message, dict):
        return True
    if message.get("role") in INSTRUCTION_ROLES:
        return False
    content = message.get("content")
    is_blank = content is None or (isinstance(content, str) and not content.strip())
    return not is_blank or any(value for key, value in message.items() if key not in {"role", "content", "weight"})
