"""What is wrong with an image. Nothing is fetched: of a web address, only its form is looked at."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from retune.data.example.images import read_data_image
from retune.data.sources.blocks import Finding
from retune.redaction.masking import shown

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
