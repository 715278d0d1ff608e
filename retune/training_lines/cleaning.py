"""What of an example is left out of a training file: what says nothing, and what no provider takes."""

from typing import Any, Literal, NamedTuple

from retune.training_lines.keys import (
    COMPLETION_KEYS,
    EXAMPLE_KEYS,
    INPUT_KEYS,
    INSTRUCTION_ROLES,
    PREFERENCE_KEYS,
    JsonMapping,
    JsonObject,
    holds_nothing,
    is_blank,
    without_empty_keys,
)

Removal = Literal["empty_keys_dropped", "other_keys_dropped", "empty_system_dropped", "ending_dropped"]
"""What can be left out: keys that hold nothing, other keys, empty system messages, what follows the last answer."""

_OUTPUTS = PREFERENCE_KEYS[1:]
_PLAIN_KEYS = 2


class CleanLine(NamedTuple):
    """A line as it is uploaded.

    Attributes:
        body: The example.
        removed: What was left out, and of which messages, counted from 1; of none where it stood beside them.
    """

    body: JsonObject
    removed: dict[Removal, list[int]]


def clean_line(body: JsonObject, method: str) -> CleanLine:
    """Leave out of a sound example what is not uploaded; the example itself is not changed.

    Args:
        body: The example. One with errors may lose what its author meant.
        method: What it trains. An item for reinforcement keeps all its keys: they are its grader's.
    """
    removed: dict[Removal, list[int]] = {}
    if "input" in body and method == "dpo":
        cleaned = _keep_keys(body, PREFERENCE_KEYS, removed)
        cleaned["input"] = _keep_keys(body["input"], INPUT_KEYS, removed)
        cleaned["input"]["messages"] = _clean_messages(body["input"]["messages"], removed)
        for name in _OUTPUTS:
            cleaned[name] = _clean_messages(body[name], removed)
        return CleanLine(cleaned, removed)
    if "messages" not in body:
        return CleanLine(_keep_keys(body, COMPLETION_KEYS, removed), removed)
    cleaned = dict(body) if method == "reinforcement" else _keep_keys(body, EXAMPLE_KEYS, removed)
    messages = body["messages"]
    if not _is_plain(messages):
        cleaned["messages"] = _clean_messages(messages, removed)
    if method == "supervised":
        cleaned["messages"] = _without_ending(cleaned["messages"], len(messages), removed)
    return CleanLine(cleaned, removed)


def _is_plain(messages: list[Any]) -> bool:
    return all(len(message) == _PLAIN_KEYS and not _is_empty_instruction(message) for message in messages)


def _keep_keys(body: JsonMapping, allowed: tuple[str, ...], removed: dict[Removal, list[int]]) -> JsonObject:
    kept = {}
    for key, value in body.items():
        if key not in allowed:
            removed.setdefault("other_keys_dropped", [])
        elif key not in COMPLETION_KEYS and holds_nothing(value):
            removed.setdefault("empty_keys_dropped", [])
        else:
            kept[key] = value
    return kept


def _clean_messages(messages: list[JsonObject], removed: dict[Removal, list[int]]) -> list[JsonObject]:
    cleaned = []
    for number, message in enumerate(messages, start=1):
        if _is_empty_instruction(message):
            removed.setdefault("empty_system_dropped", []).append(number)
            continue
        kept = without_empty_keys(message)
        if len(kept) < len(message):
            removed.setdefault("empty_keys_dropped", []).append(number)
        cleaned.append(kept)
    return cleaned


def _is_empty_instruction(message: JsonMapping) -> bool:
    return message.get("role") in INSTRUCTION_ROLES and is_blank(message.get("content"))


def _without_ending(messages: list[JsonObject], n_before: int, removed: dict[Removal, list[int]]) -> list[JsonObject]:
    """Cut what follows the last answer: it teaches nothing, and some providers refuse it."""
    last = max((place for place, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    if last in {-1, len(messages) - 1}:
        return messages
    n_cut = len(messages) - 1 - last
    removed["ending_dropped"] = list(range(n_before - n_cut + 1, n_before + 1))
    return messages[: last + 1]
