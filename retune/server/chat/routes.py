"""`/v1/chat/completions`: answers of base models, fine-tuned models and their checkpoints, whole or as a stream."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from retune.server.chat.answers import answer_chat, stream_chat
from retune.server.chat.event_stream import stream_events
from retune.server.chat.model_threads import in_model_thread
from retune.server.chat.requests import ChatRequest
from retune.server.services import Services, ServicesOf

router = APIRouter(prefix="/chat")


@router.post("/completions")
async def create_chat_completion(body: ChatRequest, services: ServicesOf) -> Response:
    """Answer a conversation, `n` times."""
    return await in_model_thread(_respond, body, services)


def _respond(body: ChatRequest, services: Services) -> Response:
    return stream_events(stream_chat(services, body)) if body.stream else JSONResponse(answer_chat(services, body))
