"""What a line of a training file is made of: its roles, its keys, its limits, and which keys say nothing."""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
"""A line, a message, a tool or a row as it was parsed, or put together: nothing is known of its values."""

JsonMapping: TypeAlias = Mapping[str, Any]
"""The same, to be read alone."""

INSTRUCTION_ROLES: Final = ("system", "developer")
"""Roles of messages that say how to answer, and ask nothing."""

ROLES: Final = (*INSTRUCTION_ROLES, "user", "assistant", "tool", "function")

MAY_BE_EMPTY: Final = ("tool", "function")
"""Roles whose messages need no text: a tool may well answer nothing."""

EXAMPLE_KEYS: Final = ("messages", "tools", "parallel_tool_calls", "functions")
"""Keys of a chat line."""

COMPLETION_KEYS: Final = ("prompt", "completion")
"""Keys of a line for a model that completes prompts."""

PREFERENCE_KEYS: Final = ("input", "preferred_output", "non_preferred_output")
INPUT_KEYS: Final = ("messages", "tools", "parallel_tool_calls")
"""Keys of a preference line, and of its `input`."""

SERVER_MESSAGE_KEYS: Final = ("role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call")
"""Keys of a message that Retune's own server trains on."""

MESSAGE_KEYS: Final = (*SERVER_MESSAGE_KEYS, "refusal")
"""Keys of a message that the fine-tuning API takes."""

FUNCTION_NAME: Final = re.compile("[a-zA-Z0-9_-]{1,64}")
FUNCTION_NAME_RULE: Final = "1 to 64 of the characters a-z, A-Z, 0-9, _ and -"

COMPLETION_MODELS: Final = ("babbage-002", "davinci-002")
"""Base models that complete prompts; all others chat."""

MINIMUM_EXAMPLES: Final = 10
"""Fewer examples than this in a training file and the fine-tuning API fails the job (`invalid_n_examples`)."""

MAX_LINE_BYTES: Final = 32 * 1024 * 1024
MAX_LINE_VALUES: Final = 100_000
"""The longest line, and the most JSON values in one, that Retune's own server reads."""

_ALWAYS_KEPT = ("role", "content")


def holds_nothing(value: Any) -> bool:
    """Whether a key with this value says as much as no key: null, or an empty text, list or object."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def is_blank(content: object) -> bool:
    """Whether a message's content says nothing: nothing, white space, or text parts of no more than that."""
    if isinstance(content, str):
        return not content.strip()
    if isinstance(content, list):
        return all(
            isinstance(part, dict)
            and part.get("type") == "text"
            and isinstance(part.get("text"), str)
            and not part["text"].strip()
            for part in content
        )
    return content is None


def without_empty_keys(message: JsonMapping) -> JsonObject:
    """A message without the keys that hold nothing, as SDKs write them: `"refusal": null`, `"annotations": []`."""
    return {key: value for key, value in message.items() if key in _ALWAYS_KEPT or not holds_nothing(value)}
