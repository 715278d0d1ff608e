"""One training example, and what the rest of the library asks of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retune.errors import DataError

MINIMUM_EXAMPLES = 10
"""Fewer examples than this in a training file and the fine-tuning API fails the job (`invalid_n_examples`)."""


@dataclass(frozen=True, slots=True)
class Example:
    """One example.

    Attributes:
        body: The JSON object of one line of a training file: `{"messages": [...]}`.
        location: Where a person finds it in the source: "row 12" (a CSV file's header is row 1), "line 12".
    """

    body: dict[str, Any]
    location: str


def prompt_messages(example: Example) -> list[dict[str, Any]]:
    """Everything before the last assistant message: what a model is shown to get the answer.

    Raises:
        DataError: No message is the assistant's.
    """
    messages: list[dict[str, Any]] = example.body["messages"]
    return messages[: _last_assistant(example)]


def expected_answer(example: Example) -> str:
    """What the last assistant message says; empty where it only calls tools.

    Raises:
        DataError: No message is the assistant's.
    """
    return message_text(example.body["messages"][_last_assistant(example)])


def message_text(message: Mapping[str, Any]) -> str:
    """The words of a message: its content, or the text parts of it put together."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def canonical_json(value: Any) -> bytes:
    """The same bytes for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode("ascii")


def content_hash(body: Mapping[str, Any]) -> str:
    """Hex SHA-256 of a body's canonical JSON: equal for examples that say the same."""
    return hashlib.sha256(canonical_json(body)).hexdigest()


def _last_assistant(example: Example) -> int:
    messages = example.body["messages"]
    for index in reversed(range(len(messages))):
        if messages[index].get("role") == "assistant":
            return index
    raise DataError(
        f"{example.location} has no assistant message, so there is no answer to learn.",
        hint="Check the examples first: check_examples names every one of them.",
    )
