"""What logged calls hold beside the answer that is learned: that it was cut or failed, and what is left out."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from retune.data.problems.problems import Finding
from retune.redaction.masking import listed, shown

_MOST_WRAPPERS = 6
_WRAPPERS = (
    "body",
    "response",
    "response_body",
    "output",
    "outputs",
    "result",
    "message",
    "request",
    "input",
    "inputs",
)
_ENDS = ("finish_reason", "finishReason", "stop_reason")
_CUT = ("length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens")
_CHOICES = ("choices", "candidates")
_CALLED = ("function_call", "function_call_output")
# Of tools that the provider runs itself, as `web_search_call` and `mcp_list_tools`.
_BUILT_IN = re.compile(r"\w+_call(_output)?|mcp_\w+|compaction|item_reference")
# As `Error: …`, `RateLimitError(…)` and `HTTP 429`; an answer may be about errors.
_FAILURE = re.compile(r"\s*(?:\w*(?:error|exception)\s*[:(\d]|traceback \(|http \d{3}\b)", re.IGNORECASE)


def is_built_in_item(item: Any) -> bool:
    """Whether an item of the Responses API stands for a tool that the provider runs, which no training file has."""
    kind = item.get("type") if isinstance(item, dict) else None
    is_kind = isinstance(kind, str) and kind not in _CALLED and _BUILT_IN.fullmatch(kind) is not None
    return is_kind and "role" not in item


def is_failure(value: object, depth: int = _MOST_WRAPPERS) -> bool:
    """Whether an answer is an error's: an object of one, or among objects a text that begins as errors do."""
    if isinstance(value, str):
        return _FAILURE.match(value) is not None
    if not isinstance(value, dict) or depth == 0:
        return False
    inside = (value[key] for key in _WRAPPERS if isinstance(value.get(key), dict))
    return bool(value.get("error")) or any(is_failure(each, depth - 1) for each in inside)


def notes_of_log(column: str, found: object) -> Iterator[Finding]:
    """Findings on what a logged request or answer holds and no example takes.

    Args:
        column: The column.
        found: What its cell holds, parsed.
    """
    items: Counter[str] = Counter()
    for level in _levels(found, _MOST_WRAPPERS):
        if isinstance(level, list):
            items.update(item["type"] for item in level if is_built_in_item(item))
        are_choices = isinstance(level, list) and bool(level) and all(map(_is_choice, level))
        yield from _of_answer(column, {_CHOICES[0]: level} if are_choices else level)
    if items:
        kinds = listed([f"{kind} ({number})" for kind, number in items.items()])
        yield Finding("log_items_left_out", f"column {column}: items of the provider's own tools left out: {kinds}.")


def _is_choice(item: Any) -> bool:
    is_answer = isinstance(item, dict) and ("message" in item or "text" in item)
    return is_answer and ("index" in item or "finish_reason" in item)


def _of_answer(column: str, answer: object) -> Iterator[Finding]:
    if not isinstance(answer, Mapping):
        return
    choices: list[Any] = next((answer[key] for key in _CHOICES if isinstance(answer.get(key), list)), [])
    if len(choices) > 1:
        yield Finding("choices_left_out", f"column {column}: of {len(choices)} answers only the first is learned.")
    first = choices[0] if choices else answer
    ends = [first.get(key) for key in _ENDS] if isinstance(first, dict) else []
    details = answer.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    cut = next((end for end in (*ends, reason) if isinstance(end, str) and end in _CUT), None)
    if cut is not None:
        yield Finding("answer_cut", f"column {column}: the answer ends with {shown(cut)}, before it was complete.")


def _levels(found: object, depth: int) -> Iterator[object]:
    """The object or list and, on the way to an answer, what it wraps."""
    if isinstance(found, list):
        yield found
        first = found[0] if len(found) == 1 else None
        if isinstance(first, dict | list) and depth:
            yield from _levels(first, depth - 1)
    elif isinstance(found, dict):
        yield found
        for key in _WRAPPERS:
            if depth and isinstance(found.get(key), dict | list):
                yield from _levels(found[key], depth - 1)
