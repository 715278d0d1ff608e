"""`/v1/chat/completions`: answers of base models, fine-tuned models and their checkpoints, whole or as a stream."""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from retune.server import ids
from retune.server.chat.answer_head import answer_head
from retune.server.chat.answers import answer_chat, answers_usage, draw_answers
from retune.server.chat.event_stream import pieces_of, stream_events
from retune.server.chat.logprobs import chat_logprobs
from retune.server.chat.model_threads import in_model_thread
from retune.server.chat.requests import ChatRequest
from retune.server.services import Services, ServicesOf
from retune.trainers.base import Completion

router = APIRouter(prefix="/chat")


@router.post("/completions")
async def create_chat_completion(body: ChatRequest, services: ServicesOf) -> Response:
    """Answer a conversation, `n` times."""
    return await in_model_thread(_respond, body, services)


def _respond(body: ChatRequest, services: Services) -> Response:
    if not body.stream:
        return JSONResponse(answer_chat(services, body))
    # The whole answer is there before its first chunk goes out: whatever fails, fails with a status of its own.
    answers = draw_answers(services, body)
    head = answer_head(services, body, ids.new_completion_id(), "chat.completion.chunk")
    return stream_events(_chunks(head, answers, with_usage=body.with_usage))


def _chunks(head: dict[str, Any], answers: Sequence[Completion], *, with_usage: bool) -> Iterator[dict[str, Any]]:
    usage = {"usage": None} if with_usage else {}
    for index, answer in enumerate(answers):
        for part in _parts(answer):
            yield {**head, "choices": [{"index": index, **part}], **usage}
    if with_usage:
        yield {**head, "choices": [], "usage": answers_usage(answers)}


def _parts(answer: Completion) -> Iterator[dict[str, Any]]:
    said = "refusal" if answer.is_refusal else "content"
    beginning = {"role": "assistant", "content": None, "refusal": None, said: ""}
    yield {"delta": beginning, "logprobs": None, "finish_reason": None}
    for text, tokens in pieces_of(answer):
        logprobs = None if answer.logprobs is None else chat_logprobs(tokens, of_refusal=answer.is_refusal)
        yield {"delta": {said: text}, "logprobs": logprobs, "finish_reason": None}
    yield {"delta": {}, "logprobs": None, "finish_reason": answer.finish_reason}
