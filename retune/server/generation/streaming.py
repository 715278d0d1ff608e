r"""What answers of models have in common: head, usage, log-probabilities, and streams of server-sent events.

A token may be a part of a character. Then its `bytes` are exact, and its text shows such bytes as `\xe2`.
"""

import asyncio
import codecs
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import TypedDict

from fastapi.responses import StreamingResponse

from retune.server.generation.sampling import SamplingRequest
from retune.server.services import Services, TokenUsage
from retune.trainers.base import Completion, TokenLogprob

_END_OF_TURN = "<|endoftext|>"


class AnswerHead(TypedDict):
    """What a whole answer and each chunk of a streamed one begin with."""

    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str


class LikelyToken(TypedDict):
    """A token, its log-probability, and its bytes, None for the end of a turn."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChatToken(LikelyToken):
    """A token of an answer, and what else could have stood in its place."""

    top_logprobs: list[LikelyToken]


class ChatLogprobs(TypedDict):
    """`logprobs` of a chat completion's choice."""

    content: list[ChatToken] | None
    refusal: list[ChatToken] | None


class LegacyLogprobs(TypedDict):
    """`logprobs` of a legacy completion's choice."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


def answer_head(services: Services, request: SamplingRequest, answer_id: str, kind: str) -> AnswerHead:
    """The fields that a whole answer and each chunk of a streamed one begin with; `kind` is their `object`."""
    return {
        "id": answer_id,
        "object": kind,
        "created": int(time.time()),
        "model": request.model,
        "system_fingerprint": f"fp_{services.trainer.name}",
    }


def token_usage(prompt_tokens: int, completion_tokens: int) -> TokenUsage:
    """The `usage` object; nothing is cached, spoken, predicted or thought here."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def stream_events(chunks: Iterable[Mapping[str, object]]) -> StreamingResponse:
    """Each chunk as an event, and `[DONE]` after the last one."""
    return StreamingResponse(_events(chunks), media_type="text/event-stream")


def stream_typed_events(events: Iterable[Mapping[str, object]]) -> StreamingResponse:
    """Each event under the name of its `type`; nothing comes after the last one."""
    return StreamingResponse(_typed_events(events), media_type="text/event-stream")


def pieces_of(answer: Completion) -> Iterator[tuple[str, Sequence[TokenLogprob]]]:
    """An answer token by token: the text, and the log-probabilities of the tokens that it is made of.

    Tokens that end in the middle of a character wait for its rest.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    logprobs = answer.logprobs or ()
    n_sent, last = 0, len(answer.tokens) - 1
    for index, token in enumerate(answer.tokens):
        text = decoder.decode(token, final=index == last)
        if text:
            yield text, logprobs[n_sent : index + 1]
            n_sent = index + 1


async def _events(chunks: Iterable[Mapping[str, object]]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield b"data: %s\n\n" % json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()
        # Without this, the loop would block other requests and not notice that a client has left.
        await asyncio.sleep(0)
    yield b"data: [DONE]\n\n"


async def _typed_events(events: Iterable[Mapping[str, object]]) -> AsyncIterator[bytes]:
    for event in events:
        # In ASCII: responses repeat texts of their requests, which may hold halves of surrogate pairs.
        data = json.dumps(event, separators=(",", ":"))
        yield f"event: {event['type']}\ndata: {data}\n\n".encode()
        await asyncio.sleep(0)


def chat_logprobs(tokens: Sequence[TokenLogprob], *, of_refusal: bool = False) -> ChatLogprobs:
    """`logprobs` of a chat completion's choice, or of a chunk of one."""
    shown = [_chat_token(token) for token in tokens]
    return {"content": None, "refusal": shown} if of_refusal else {"content": shown, "refusal": None}


def legacy_logprobs(tokens: Sequence[TokenLogprob], *, offset: int, top: int) -> LegacyLogprobs:
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


def _chat_token(token: TokenLogprob) -> ChatToken:
    alternatives = [_likely(other.content, other.logprob) for other in token.alternatives]
    return {**_likely(token.content, token.logprob), "top_logprobs": alternatives}


def _likely(content: bytes | None, logprob: float) -> LikelyToken:
    return {"token": _text(content), "logprob": logprob, "bytes": None if content is None else list(content)}


def _legacy_alternatives(token: TokenLogprob) -> dict[str, float]:
    chosen = {_legacy_text(token.content): token.logprob}
    return chosen | {_legacy_text(other.content): other.logprob for other in token.alternatives}


def _text(content: bytes | None) -> str:
    return _END_OF_TURN if content is None else content.decode("utf-8", "backslashreplace")


def _legacy_text(content: bytes | None) -> str:
    text = _text(content)
    is_text = content is None or text.encode() == content
    # The service's legacy answers show bytes this way.
    return text if is_text else "bytes:" + "".join(f"\\x{byte:02x}" for byte in content or b"")
