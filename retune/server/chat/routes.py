"""`/v1/chat/completions`: answers of base models, fine-tuned models and their checkpoints, whole or as a stream."""

import json
import logging
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse

from retune.errors import TrainerError
from retune.server import ids
from retune.server.api.errors import ApiError
from retune.server.chat.requests import ChatRequest
from retune.server.models import store as model_store
from retune.server.services import Services, ServicesOf
from retune.trainers.base import ChatModel, Completion

router = APIRouter(prefix="/chat")

_log = logging.getLogger(__name__)
_WORD = re.compile(r"\s*\S+|\s+")


@router.post("/completions")
def create_chat_completion(body: ChatRequest, services: ServicesOf) -> Response:
    """Answer a conversation, `n` times."""
    body.refuse_what_is_not_offered()
    model = _load(services, body.model)
    answers = [_answer(model, body, index) for index in range(body.n or 1)]
    head = {
        "id": ids.new_completion_id(),
        "created": int(time.time()),
        "model": body.model,
        "system_fingerprint": f"fp_{services.trainer.name}",
    }
    if body.stream:
        chunks = _chunks(head, answers, body)
        return StreamingResponse(_server_sent_events(chunks), media_type="text/event-stream")
    choices = [_choice(index, answer) for index, answer in enumerate(answers)]
    return JSONResponse({**head, "object": "chat.completion", "choices": choices, "usage": _usage(answers)})


def _load(services: Services, name: str) -> ChatModel:
    with services.database.read() as session:
        model = model_store.find_model(session, services.trainer, name)
    if model is None:
        message = f"The model `{name}` does not exist or you do not have access to it."
        raise ApiError(404, message, code="model_not_found")
    directory = services.directory.path / model.directory if model.directory else None
    try:
        return services.chat_models.get(directory)
    except TrainerError as error:
        _log.exception("The model %s can't be loaded", name)
        message = f"The model `{name}` can't be loaded: {error}"
        raise ApiError(500, message, type="server_error", code="model_not_loadable") from error


def _answer(model: ChatModel, request: ChatRequest, index: int) -> Completion:
    return model.complete(
        request.conversation(),
        max_tokens=request.token_limit(),
        stop=request.stop or (),
        # Each of n answers is drawn anew, and the whole set is the same for the same seed.
        seed=None if request.seed is None else request.seed + index,
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
    )


def _choice(index: int, answer: Completion) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.content, "refusal": None, "annotations": []}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}


def _usage(answers: Sequence[Completion]) -> dict[str, Any]:
    prompt_tokens = answers[0].prompt_tokens
    completion_tokens = sum(answer.completion_tokens for answer in answers)
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


def _chunks(head: dict[str, Any], answers: Sequence[Completion], request: ChatRequest) -> Iterator[dict[str, Any]]:
    with_usage = bool(request.stream_options and request.stream_options.include_usage)
    head = {**head, "object": "chat.completion.chunk"}
    usage = {"usage": None} if with_usage else {}
    for index, answer in enumerate(answers):
        for delta, finish_reason in _deltas(answer):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            yield {**head, "choices": [choice], **usage}
    if with_usage:
        yield {**head, "choices": [], "usage": _usage(answers)}


def _deltas(answer: Completion) -> Iterator[tuple[dict[str, Any], str | None]]:
    yield {"role": "assistant", "content": "", "refusal": None}, None
    for word in _WORD.findall(answer.content):
        yield {"content": word}, None
    yield {}, answer.finish_reason


async def _server_sent_events(chunks: Iterable[dict[str, Any]]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield b"data: %s\n\n" % json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()
    yield b"data: [DONE]\n\n"
