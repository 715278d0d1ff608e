import base64
import struct
from typing import Any

import pytest

from retune.config import ProviderKind
from retune.data.checks.structure import check_structure
from retune.data.example.images import image_tokens, read_data_image
from retune.data.problems.rules import RULES

ASSISTANT = {"role": "assistant", "content": "A cat."}


def png(width: int, height: int, color_type: int = 2) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, color_type, 0, 0, 0) + b"rest"
    )


def jpeg(width: int, height: int, components: int = 3) -> bytes:
    preview = b"\xff\xe1" + struct.pack(">H", 302) + bytes(300)
    frame = b"\xff\xff\xc2" + struct.pack(">HBHHB", 8 + 3 * components, 8, height, width, components)
    return b"\xff\xd8" + preview + frame + bytes(20)


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + kind + struct.pack("<I", len(body)) + body + bytes(10)


def address(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def image(url: str, **beside: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **beside}}


def found(*parts: dict[str, Any] | str, role: str = "user", provider: ProviderKind = "openai") -> list[tuple[str, str]]:
    messages = [{"role": role, "content": list(parts)}, ASSISTANT]
    return [
        (finding.kind, finding.message) for finding in check_structure({"messages": messages}, "supervised", provider)
    ]


SMALL = address(png(32, 32))


@pytest.mark.parametrize(
    ("content", "format_", "size", "is_rgb"),
    [
        (png(640, 480), "png", (640, 480), True),
        (png(640, 480, color_type=6), "png", (640, 480), True),
        (png(640, 480, color_type=3), "png", (640, 480), False),
        (jpeg(640, 480), "jpeg", (640, 480), True),
        (jpeg(640, 480, components=4), "jpeg", (640, 480), False),
        (b"\xff\xd8\xff", "jpeg", None, True),
        (
            webp(b"VP8X", b"\0\0\0\0" + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")),
            "webp",
            (640, 480),
            True,
        ),
        (webp(b"VP8L", b"\x2f" + (639 | 479 << 14).to_bytes(4, "little")), "webp", (640, 480), True),
        (webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480)), "webp", (640, 480), True),
        (webp(b"VP8?", b""), "webp", None, True),
        (b"GIF89a" + bytes(20), None, None, True),
        (b"", None, None, True),
    ],
)
def test_headers_say_what_an_image_is(
    content: bytes, format_: str | None, size: tuple[int, int] | None, is_rgb: bool
) -> None:
    read = read_data_image(address(content))
    assert read is not None
    assert (read.format, read.bytes, read.size, read.is_rgb) == (format_, len(content), size, is_rgb)


@pytest.mark.parametrize(
    ("url", "detail", "tokens"),
    [
        # The examples of OpenAI's vision guide.
        (address(png(1024, 1024)), "high", 765),
        (address(png(2048, 4096)), "high", 1105),
        (address(png(4096, 8192)), "low", 85),
        (address(png(100, 100)), None, 85 + 170),
        (address(png(100_000, 1)), "auto", 85 + 4 * 170),
        ("https://example.com/cat.png", "high", 85),
        ("data:image/png;base64,!", "high", 85),
    ],
)
def test_images_cost_what_the_guide_says(url: str, detail: str | None, tokens: int) -> None:
    assert image_tokens(url, detail) == tokens


def test_valid_image_parts_have_no_problem() -> None:
    text = {"type": "text", "text": "What is this?"}
    assert found(text, image(SMALL, detail="low"), image("https://example.com/a%20cat.jpg")) == []
    assert found(image(SMALL)) == []


@pytest.mark.parametrize(
    ("part", "kind", "message"),
    [
        ({"text": "x"}, "bad_content_part", 'expected an object like {"type": "text", …}, found {"text": "x"}.'),
        ("x", "bad_content_part", 'expected an object like {"type": "text", …}, found "x".'),
        ({"type": "text", "text": 7}, "bad_content_part", "expected its text as text, found 7."),
        ({"type": "input_audio"}, "bad_content_part", '"input_audio" can\'t be trained on; allowed: text, image_url.'),
        ({"type": "file"}, "bad_content_part", '"file" can\'t be trained on; allowed: text, image_url.'),
        ({"type": "refusal"}, "bad_content_part", '"refusal" can\'t be trained on; allowed: text, image_url.'),
        (
            {"type": "image_url", "image_url": "https://a.b/c.png"},
            "bad_content_part",
            'expected image_url as {"url": "…"}, found "https://a.b/c.png".',
        ),
        (
            image(SMALL, detail="medium"),
            "bad_content_part",
            'expected a detail of low, high, auto, found "medium".',
        ),
        (image("cat.png"), "bad_image", 'expected an address of the web or of data, found "cat.png".'),
        (image("file:///cat.png"), "bad_image", 'expected an address of the web or of data, found "file:///cat.png".'),
        (
            image("data:image/png;base64,abc"),
            "bad_image",
            'expected data:image/…;base64,… with whole base64, found "data:image/png;base64,abc".',
        ),
        (
            image(address(b"GIF89a")),
            "bad_image",
            'expected JPEG, PNG or WEBP, found "data:image/png;base64,R0lGODlh", which is none of them.',
        ),
        (
            image(address(png(10, 10, color_type=0))),
            "bad_image",
            "expected the colours RGB or RGBA, found an image with others.",
        ),
        (
            image(address(png(10, 10) + bytes(10 << 20))),
            "image_too_large",
            "an image of 10.0 MB; at most 10 MB are taken.",
        ),
    ],
)
def test_invalid_image_parts_are_reported(part: dict[str, Any] | str, kind: str, message: str) -> None:
    assert found({"type": "text", "text": "?"}, part) == [(kind, f"message 1 (user), part 2: {message}")]


def test_images_are_the_users() -> None:
    [(kind, message), *_] = found(image(SMALL), role="assistant")
    assert (kind, message) == (
        "image_in_answer",
        "message 1 (assistant), part 1: an image; the assistant's messages can't have any.",
    )
    assert found(image(SMALL), role="system")[0][0] == "bad_content_part"


def test_parts_must_say_something() -> None:
    assert found({"type": "text", "text": " "}) == [
        ("empty_content", 'message 1 (user): the content is [{"type": "text", "text": " "}]; expected text.')
    ]


@pytest.mark.parametrize(("provider", "most"), [("openai", 10), ("azure", 64), ("other", None)])
def test_each_provider_has_its_own_limit_of_images(provider: ProviderKind, most: int | None) -> None:
    count = most or 100
    assert found(*[image(SMALL)] * count, provider=provider) == []
    if most:
        [(kind, message)] = found(*[image(SMALL)] * (most + 1), provider=provider)
        assert (kind, message) == ("too_many_images", f"{most + 1} images; an example may have at most {most}.")


def test_image_problems_are_warnings() -> None:
    assert {RULES[kind].level for kind in ("bad_image", "image_too_large")} == {"warning"}
