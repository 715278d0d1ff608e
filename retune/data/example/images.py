"""Images in training files: what an address holds, without fetching anything, and the tokens that it stands for."""

import base64
import binascii
import math
import re
from typing import Literal, NamedTuple

ImageFormat = Literal["jpeg", "png", "webp"]

LOW_DETAIL_TOKENS = 85
_TOKENS_PER_TILE = 170
_TILE = 512
_LARGEST_SIDE, _SHORTER_SIDE = 2048, 768

# Pillow can't replace the readers below: it needs the whole file of a WebP and rejects headers whose rest is damaged.
# Of the twelve headers in the tests it reads four the same.
# A JPEG's size may stand behind a preview and a colour profile.
_HEADER_CHARACTERS = 4 * 65_536
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")

_PNG_RGB, _PNG_RGBA = 2, 6
_JPEG_RGB = 3
# Start of frame, in every coding; between them are DHT (C4), JPG (C8) and DAC (CC).
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


class DataImage(NamedTuple):
    """An image that stands in the file itself.

    Attributes:
        format: By its first bytes, whatever its address says; None where it is none that can be trained on.
        bytes: Its size.
        size: Width and height in pixels; None where they can't be read.
        is_rgb: Whether its pixels are RGB or RGBA; True where that can't be read.
    """

    format: ImageFormat | None
    bytes: int
    size: tuple[int, int] | None = None
    is_rgb: bool = True


def read_data_image(address: str) -> DataImage | None:
    """Look at the first bytes of the image in a data address.

    Args:
        address: `data:image/png;base64,…`.

    Returns:
        None where the address has no base64.
    """
    settings, comma, encoded = address.partition(",")
    if not comma or not settings.lower().endswith(";base64") or len(encoded) % 4 or not _BASE64.fullmatch(encoded):
        return None
    try:
        start = base64.b64decode(encoded[:_HEADER_CHARACTERS])
    except binascii.Error:
        return None
    size = len(encoded) // 4 * 3 - encoded[-2:].count("=")
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return _read_png(start, size)
    if start.startswith(b"\xff\xd8\xff"):
        return _read_jpeg(start, size)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return DataImage("webp", size, _webp_size(start))
    return DataImage(None, size)


def image_tokens(address: str, detail: str | None) -> int:
    """Tokens of an image, as OpenAI's vision guide counts them for gpt-4o and gpt-4.1.

    With `low` detail 85. Else the image is scaled to fit 2,048 × 2,048, then so that its shorter side is at most 768,
    and costs 170 for every tile of 512 × 512 that covers it, and 85. An image whose size isn't known counts as low.
    No job has confirmed these: they are estimates.
    """
    image = read_data_image(address) if detail != "low" and address.startswith("data:") else None
    if image is None or image.size is None:
        return LOW_DETAIL_TOKENS
    width, height = image.size
    scale = min(1.0, _LARGEST_SIDE / max(width, height))
    scale = min(scale, _SHORTER_SIDE / min(width, height))
    tiles = math.prod(math.ceil(max(1, int(side * scale)) / _TILE) for side in (width, height))
    return LOW_DETAIL_TOKENS + _TOKENS_PER_TILE * tiles


def _read_png(start: bytes, size: int) -> DataImage:
    width, height = int.from_bytes(start[16:20]), int.from_bytes(start[20:24])
    if start[12:16] != b"IHDR" or len(start) < 26 or not width or not height:
        return DataImage("png", size)
    return DataImage("png", size, (width, height), is_rgb=start[25] in (_PNG_RGB, _PNG_RGBA))


def _read_jpeg(start: bytes, size: int) -> DataImage:
    place = 2
    while place + 10 <= len(start) and start[place] == 0xFF:
        marker = start[place + 1]
        if marker in _JPEG_SIZES:
            height, width = int.from_bytes(start[place + 5 : place + 7]), int.from_bytes(start[place + 7 : place + 9])
            if not width or not height:
                break
            return DataImage("jpeg", size, (width, height), is_rgb=start[place + 9] == _JPEG_RGB)
        # 0xFF may be repeated before a marker; a few markers have nothing after them.
        if marker == 0xFF:
            place += 1
        elif marker in _JPEG_ALONE:
            place += 2
        else:
            place += 2 + int.from_bytes(start[place + 2 : place + 4])
    return DataImage("jpeg", size)


def _webp_size(start: bytes) -> tuple[int, int] | None:
    """From the container specification and RFC 6386 (lossy), RFC 9649 (lossless and extended)."""
    kind, body = start[12:16], start[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(body[place : place + 2], "little") & 0x3FFF for place in (6, 8))
        return (width, height) if width and height else None
    return None
