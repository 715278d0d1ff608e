"""Messages as ShareGPT's exports, and many data sets after them, write them: `{"from": "human", "value": "…"}`."""

from typing import Any

_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "system": "system",
    "tool": "tool",
}


def is_sharegpt_message(message: Any) -> bool:
    """Whether a message is written as ShareGPT does."""
    return isinstance(message, dict) and "from" in message and "value" in message and "role" not in message


def from_sharegpt(message: Any) -> Any:
    """The message as the API takes it; an unknown name stays as the role, and anything else as it is."""
    if not is_sharegpt_message(message):
        return message
    said = message["from"]
    role = _ROLES.get(said.lower(), said) if isinstance(said, str) else said
    return {"role": role, "content": message["value"]} | {key: message[key] for key in ("weight",) if key in message}
