"""What is wrong with content that is a list of parts: text, images, refusals.

No image is fetched: of a web address, only its form is checked.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from retune.config import ProviderKind
from retune.data.example.images import read_data_image
from retune.data.problems.problems import Finding
from retune.redaction.masking import shown
from retune.training_lines.keys import JsonMapping

_ALLOWED = {"user": "text, image_url", "assistant": "text, refusal"}
_TEXT_KEYS = {"text": "text", "refusal": "refusal"}

# From the vision guides of OpenAI and of Azure.
_MOST_IMAGES: dict[ProviderKind, int] = {"openai": 10, "azure": 64}


def check_parts(
    parts: Sequence[Any], role: object, where: str, *, is_text_only: bool, may_be_empty: bool
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


def count_images(messages: Sequence[JsonMapping]) -> int:
    """How many images a conversation holds."""
    return sum(
        isinstance(part, dict) and part.get("type") == "image_url"
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def check_image_count(messages: Sequence[JsonMapping], provider: ProviderKind) -> Iterator[Finding]:
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


def _check_image_part(part: JsonMapping, role: Any, where: str, *, is_text_only: bool) -> Iterator[Finding]:
    if is_text_only:
        yield Finding("bad_content_part", f"{where}: an image; this method trains on text alone.")
    elif role == "assistant":
        yield Finding("image_in_answer", f"{where}: an image; the assistant's messages can't have any.")
    elif role != "user":
        yield Finding("bad_content_part", f"{where}: an image; only user messages can have them.")
    else:
        yield from check_image(part.get("image_url"), where)


def _says_something(part: JsonMapping) -> bool:
    key = _TEXT_KEYS.get(part["type"])
    return key is None or bool(part[key].strip())


_DETAILS = ("low", "high", "auto")
_MOST_BYTES = 10 << 20
_FORMATS = "JPEG, PNG or WEBP"


def check_image(image: Any, where: str) -> Iterator[Finding]:
    """Check what stands under `image_url`, by the vision guide's rules.

    Args:
        image: `{"url": …, "detail": …}`.
        where: What people call the content part.
    """
    address = image.get("url") if isinstance(image, dict) else None
    if not isinstance(address, str):
        yield Finding("bad_content_part", f'{where}: expected image_url as {{"url": "…"}}, found {shown(image)}.')
        return
    detail = image.get("detail")
    if detail is not None and detail not in _DETAILS:
        text = f"{where}: expected a detail of {', '.join(_DETAILS)}, found {shown(detail)}."
        yield Finding("bad_content_part", text)
    if address.startswith("data:"):
        yield from _check_data(address, where)
    elif not _is_web_address(address):
        yield Finding("bad_image", f"{where}: expected an address of the web or of data, found {shown(address)}.")


def _check_data(address: str, where: str) -> Iterator[Finding]:
    image = read_data_image(address)
    if image is None:
        yield Finding(
            "bad_image", f"{where}: expected data:image/…;base64,… with whole base64, found {shown(address)}."
        )
        return
    if image.bytes > _MOST_BYTES:
        text = f"{where}: an image of {image.bytes / (1 << 20):,.1f} MB; at most {_MOST_BYTES >> 20} MB are taken."
        yield Finding("image_too_large", text)
    if image.format is None:
        yield Finding("bad_image", f"{where}: expected {_FORMATS}, found {shown(address)}, which is none of them.")
    elif not image.is_rgb:
        yield Finding("bad_image", f"{where}: expected the colours RGB or RGBA, found an image with others.")


def _is_web_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not any(map(str.isspace, address))
