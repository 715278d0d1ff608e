"""What Retune's own server refuses in a training file, said before the upload: it trains on text alone."""

from collections.abc import Iterator, Mapping
from typing import Any

from retune.data.blocks import Finding
from retune.data.checks.messages import MESSAGE_KEYS as OTHERS_MESSAGE_KEYS
from retune.data.quoting import listed, masked

EXAMPLE_KEYS = ("messages", "tools", "parallel_tool_calls", "functions")
MESSAGE_KEYS = ("role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call")

_OTHER_PARTS = ("image_url", "refusal")


def check_server_limits(body: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what other providers take and this server doesn't; what nobody takes is found elsewhere."""
    yield from _check_keys(body, EXAMPLE_KEYS, "")
    messages = body.get("messages")
    for number, message in enumerate(messages if isinstance(messages, list) else (), start=1):
        if isinstance(message, dict):
            known = {key: value for key, value in message.items() if key in OTHERS_MESSAGE_KEYS}
            yield from _check_message(known, f"message {number} ({masked(str(message.get('role')))})")


def _check_message(message: Mapping[str, Any], where: str) -> Iterator[Finding]:
    yield from _check_keys(message, MESSAGE_KEYS, f"{where}: ")
    content = message.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    others = [kind for kind in _OTHER_PARTS if any(part.get("type") == kind for part in parts)]
    if others:
        yield Finding(
            "unsupported_by_server", f"{where}: the server takes parts of text alone, found {listed(others)}."
        )


def _check_keys(value: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> Iterator[Finding]:
    for key in value:
        if key not in allowed:
            text = f"{where}the server has no {masked(key)}; it takes {listed(allowed)}."
            yield Finding("unsupported_by_server", text)
