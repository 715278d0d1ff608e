"""`/v1/responses`: answers in text, JSON or calls, whole or as a stream. Nothing is stored."""

import json

from fastapi import APIRouter
from fastapi.responses import Response

from retune.server.errors import ApiError
from retune.server.generation.model_lookup import in_model_thread
from retune.server.generation.streaming import stream_typed_events
from retune.server.responses.answers import ResponseObject, respond, response_events
from retune.server.responses.requests import ResponseRequest
from retune.server.services import Services, ServicesOf

router = APIRouter(prefix="/responses")


@router.post("")
async def create_response(body: ResponseRequest, services: ServicesOf) -> Response:
    """Answer a request."""
    return await in_model_thread(_respond, body, services)


@router.post("/compact")
@router.post("/input_tokens")
async def refuse_helper() -> Response:
    """Refuse the endpoints next to responses that this server does not have."""
    raise ApiError(404, "This server neither compacts responses nor counts their tokens: use POST /v1/responses.")


@router.get("/{response_id}")
@router.delete("/{response_id}")
@router.post("/{response_id}/cancel")
@router.get("/{response_id}/input_items")
async def refuse_stored(response_id: str) -> Response:
    """Refuse to look up responses: none is stored."""
    raise ApiError(404, f"Response with id '{response_id}' not found. This server stores no responses.")


def _respond(body: ResponseRequest, services: Services) -> Response:
    answered = respond(services, body)
    if body.stream:
        return stream_typed_events(response_events(answered))
    return Response(_as_json(answered.response), media_type="application/json")


def _as_json(value: ResponseObject) -> bytes:
    # In ASCII: it repeats texts of the request, which may hold halves of surrogate pairs.
    return json.dumps(value, separators=(",", ":")).encode()
