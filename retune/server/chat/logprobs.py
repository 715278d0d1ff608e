r"""Log-probabilities of tokens, in the shapes that chat completions and legacy completions have for them.

A token may be a part of a character. Its `bytes` are exact then, and its text shows such bytes as `\xe2`.
"""

from collections.abc import Sequence
from typing import Any

from retune.trainers.base import TokenLogprob

_END_OF_TURN = "<|endoftext|>"


def chat_logprobs(tokens: Sequence[TokenLogprob], *, of_refusal: bool = False) -> dict[str, Any]:
    """`logprobs` of a chat completion's choice, or of a chunk of one."""
    shown = [_chat_token(token) for token in tokens]
    return {"content": None, "refusal": shown} if of_refusal else {"content": shown, "refusal": None}


def legacy_logprobs(tokens: Sequence[TokenLogprob], *, offset: int, top: int) -> dict[str, Any]:
    """`logprobs` of a legacy completion's choice, or of a chunk of one.

    Args:
        tokens: The tokens.
        offset: Characters of the choice's text before them.
        top: How many alternatives were asked for; the chosen token comes in addition where it is not among them.
    """
    offsets, said = [], b""
    for token in tokens:
        offsets.append(offset + len(said.decode("utf-8", "ignore")))
        said += token.content
    return {
        "tokens": [_legacy_text(token.content) for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [_legacy_alternatives(token) for token in tokens] if top else None,
        "text_offset": offsets,
    }


def _chat_token(token: TokenLogprob) -> dict[str, Any]:
    alternatives = [_likely(other.content, other.logprob) for other in token.alternatives]
    return {**_likely(token.content, token.logprob), "top_logprobs": alternatives}


def _likely(content: bytes | None, logprob: float) -> dict[str, Any]:
    return {"token": _text(content), "logprob": logprob, "bytes": None if content is None else list(content)}


def _legacy_alternatives(token: TokenLogprob) -> dict[str, float]:
    chosen = {_legacy_text(token.content): token.logprob}
    return chosen | {_legacy_text(other.content): other.logprob for other in token.alternatives}


def _text(content: bytes | None) -> str:
    return _END_OF_TURN if content is None else content.decode("utf-8", "backslashreplace")


def _legacy_text(content: bytes | None) -> str:
    text = _text(content)
    is_text = content is None or text.encode() == content
    # Bytes look like this in the service's own legacy answers.
    return text if is_text else "bytes:" + "".join(f"\\x{byte:02x}" for byte in content or b"")
