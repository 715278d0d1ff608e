"""Hashes by which examples are compared, and by which the stable split goes."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from retune.data.examples import Method, canonical_json, expected_answer, prompt_messages

HASH_BYTES = 8
_PLAIN_MESSAGE = {"role", "content"}


def prompt_hash(messages: Sequence[Mapping[str, Any]], seed: int) -> int:
    """The keyed BLAKE2b hash of a conversation up to its answer, 64 bits.

    Messages of a role and a text alone go in as they are; any other as canonical JSON.

    Args:
        messages: The conversation.
        seed: The split's seed.
    """
    hashed = prompt_hasher(seed)
    for message in messages:
        content = message.get("content")
        if message.keys() == _PLAIN_MESSAGE and isinstance(content, str):
            encoded = content.encode(errors="surrogatepass")
            hashed.update(message_head(message["role"], len(encoded)) + encoded)
        else:
            encoded = canonical_json(message)
            hashed.update(message_head("json", len(encoded)) + encoded)
    return _to_int(hashed.digest())


def prompt_hasher(seed: int) -> "hashlib.blake2b":
    """What conversations are hashed with: for each message its head, then its content."""
    return hashlib.blake2b(key=seed.to_bytes(HASH_BYTES, "big"), digest_size=HASH_BYTES)


def message_head(role: str, content_bytes: int) -> bytes:
    """What stands before a message's content, so that no two conversations look the same."""
    return f"{role} {content_bytes}\n".encode()


def text_hash(text: str | None) -> int:
    """BLAKE2b of a text, 64 bits; 0 for None."""
    return 0 if text is None else _hash(text.encode(errors="surrogatepass"))


def hash_example(body: Mapping[str, Any], method: Method, seed: int) -> tuple[int, int, int]:
    """Hash what a sound example asks, what it answers, and the whole of it where there is more than these two.

    Returns:
        The columns `prompt`, `answer` and `rest`; two examples are the same where all three are.
    """
    prompt = prompt_messages(body, method)
    answer = None if method == "reinforcement" else expected_answer(body)
    is_plain = (
        method == "supervised"
        and len(body) == 1
        and len(body["messages"]) == len(prompt) + 1
        and body["messages"][-1].keys() == _PLAIN_MESSAGE
        and isinstance(body["messages"][-1]["content"], str)
    )
    rest = 0 if is_plain else _hash(canonical_json(body))
    return prompt_hash(prompt, seed), text_hash(answer), rest


def _hash(content: bytes) -> int:
    return _to_int(hashlib.blake2b(content, digest_size=HASH_BYTES).digest())


def _to_int(digest: bytes) -> int:
    return int.from_bytes(digest, "big")
