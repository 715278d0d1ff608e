"""`/v1/completions`: the legacy completions of prompt and completion models, whole or as a stream."""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from retune.server.chat.completion_answers import (
    CompletedPrompt,
    answer_completion,
    complete_prompts,
    completion_head,
    completions_usage,
)
from retune.server.chat.completion_requests import CompletionRequest
from retune.server.chat.event_stream import pieces_of, stream_events
from retune.server.chat.logprobs import legacy_logprobs
from retune.server.chat.model_threads import in_model_thread
from retune.server.services import Services, ServicesOf

router = APIRouter(prefix="/completions")


@router.post("")
async def create_completion(body: CompletionRequest, services: ServicesOf) -> Response:
    """Complete every prompt, `n` times each."""
    return await in_model_thread(_respond, body, services)


def _respond(body: CompletionRequest, services: Services) -> Response:
    if not body.stream:
        return JSONResponse(answer_completion(services, body))
    completed = complete_prompts(services, body)
    return stream_events(_chunks(completion_head(services, body), completed, body))


def _chunks(
    head: dict[str, Any], completed: Sequence[CompletedPrompt], request: CompletionRequest
) -> Iterator[dict[str, Any]]:
    usage = {"usage": None} if request.with_usage else {}
    for index, choice in enumerate(completed):
        for part in _parts(choice, request.logprobs or 0):
            yield {**head, "choices": [{"index": index, **part}], **usage}
    if request.with_usage:
        yield {**head, "choices": [], "usage": completions_usage(completed, request)}


def _parts(choice: CompletedPrompt, top: int) -> Iterator[dict[str, Any]]:
    if choice.echo:
        yield {"text": choice.echo, "logprobs": None, "finish_reason": None}
    answer, offset = choice.completion, 0
    for text, tokens in pieces_of(answer):
        logprobs = None if answer.logprobs is None else legacy_logprobs(tokens, offset=offset, top=top)
        yield {"text": text, "logprobs": logprobs, "finish_reason": None}
        offset += len(text)
    yield {"text": "", "logprobs": None, "finish_reason": answer.finish_reason}
