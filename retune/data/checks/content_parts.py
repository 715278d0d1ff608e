"""What is wrong with content that is a list of parts: text, images, refusals."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retune.config import ProviderKind
from retune.data.checks.images import check_image
from retune.data.sources.blocks import Finding
from retune.redaction.masking import shown

_ALLOWED = {"user": "text, image_url", "assistant": "text, refusal"}
_TEXT_KEYS = {"text": "text", "refusal": "refusal"}

# From the vision guides of OpenAI and of Azure.
_MOST_IMAGES: dict[ProviderKind, int] = {"openai": 10, "azure": 64}


def check_parts(
    parts: Sequence[Any], role: Any, where: str, *, is_text_only: bool, may_be_empty: bool
) -> Iterator[Finding]:
    """Check a list of content parts.

    Args:
        parts: At least one.
        role: Of their message: images are for the user, refusals for the assistant.
        where: What people call the message.
        is_text_only: Images are not allowed.
        may_be_empty: The message says something beside its content, or need not say anything.
    """
    sound = True
    for number, part in enumerate(parts, start=1):
        for finding in _check_part(part, role, f"{where}, part {number}", is_text_only=is_text_only):
            sound = False
            yield finding
    if sound and not may_be_empty and not any(_says_something(part) for part in parts):
        yield Finding("empty_content", f"{where}: the content is {shown(list(parts))}; expected text.")


def count_images(messages: Sequence[Mapping[str, Any]]) -> int:
    """How many images a conversation holds."""
    return sum(
        isinstance(part, dict) and part.get("type") == "image_url"
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def check_image_count(messages: Sequence[Mapping[str, Any]], provider: ProviderKind) -> Iterator[Finding]:
    """Check how many images an example holds, where the provider has a limit."""
    most = _MOST_IMAGES.get(provider)
    count = count_images(messages)
    if most is not None and count > most:
        yield Finding("too_many_images", f"{count} images; an example may have at most {most}.")


def _check_part(part: Any, role: Any, where: str, *, is_text_only: bool) -> Iterator[Finding]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        found = shown(part) if kind is None else f"the type {shown(kind)}"
        yield Finding("bad_content_part", f'{where}: expected an object like {{"type": "text", …}}, found {found}.')
    elif kind == "text" or (kind == "refusal" and role == "assistant"):
        if not isinstance(part.get(kind), str):
            yield Finding("bad_content_part", f"{where}: expected its {kind} as text, found {shown(part.get(kind))}.")
    elif kind == "image_url":
        yield from _check_image_part(part, role, where, is_text_only=is_text_only)
    else:
        allowed = _ALLOWED.get(role, "text") if isinstance(role, str) else "text"
        yield Finding("bad_content_part", f"{where}: {shown(kind)} can't be trained on; allowed: {allowed}.")


def _check_image_part(part: Mapping[str, Any], role: Any, where: str, *, is_text_only: bool) -> Iterator[Finding]:
    if is_text_only:
        yield Finding("bad_content_part", f"{where}: an image; this method trains on text alone.")
    elif role == "assistant":
        yield Finding("image_in_answer", f"{where}: an image; the assistant's messages can't have any.")
    elif role != "user":
        yield Finding("bad_content_part", f"{where}: an image; only user messages can have them.")
    else:
        yield from check_image(part.get("image_url"), where)


def _says_something(part: Mapping[str, Any]) -> bool:
    key = _TEXT_KEYS.get(part["type"])
    return key is None or bool(part[key].strip())
