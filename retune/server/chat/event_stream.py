"""Answers as streams of server-sent events."""

import asyncio
import codecs
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from fastapi.responses import StreamingResponse

from retune.trainers.base import Completion, TokenLogprob


def stream_events(chunks: Iterable[dict[str, Any]]) -> StreamingResponse:
    """Each chunk as an event, and `[DONE]` after the last one."""
    return StreamingResponse(_events(chunks), media_type="text/event-stream")


def stream_typed_events(events: Iterable[dict[str, Any]]) -> StreamingResponse:
    """Each event under the name of its `type`; nothing comes after the last one."""
    return StreamingResponse(_typed_events(events), media_type="text/event-stream")


def pieces_of(answer: Completion) -> Iterator[tuple[str, Sequence[TokenLogprob]]]:
    """An answer token by token: the text, and the log-probabilities of the tokens that it is made of.

    Tokens that end in the middle of a character wait for its rest.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    logprobs = answer.logprobs or ()
    told, last = 0, len(answer.tokens) - 1
    for index, token in enumerate(answer.tokens):
        text = decoder.decode(token, final=index == last)
        if text:
            yield text, logprobs[told : index + 1]
            told = index + 1


async def _events(chunks: Iterable[dict[str, Any]]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield b"data: %s\n\n" % json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()
        # Nothing here waits by itself: others would, and a client that left would not be noticed.
        await asyncio.sleep(0)
    yield b"data: [DONE]\n\n"


async def _typed_events(events: Iterable[dict[str, Any]]) -> AsyncIterator[bytes]:
    for event in events:
        # In ASCII: responses repeat texts of their requests, which may hold halves of surrogate pairs.
        data = json.dumps(event, separators=(",", ":"))
        yield f"event: {event['type']}\ndata: {data}\n\n".encode()
        await asyncio.sleep(0)
