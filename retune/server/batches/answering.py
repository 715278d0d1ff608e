"""Answers one request of a batch, by the code that answers it over HTTP."""

import logging
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from retune.server import ids
from retune.server.batches.requests import BatchRequest, canonical_endpoint
from retune.server.batches.results import BatchResult, ResultError, ResultResponse
from retune.server.chat.requests import ChatRequest
from retune.server.chat.routes import answer_chat
from retune.server.completions import CompletionRequest, answer_completion
from retune.server.errors import ApiError, from_validation, internal_error, is_out_of_space
from retune.server.responses.answers import answer_response
from retune.server.responses.requests import ResponseRequest
from retune.server.services import Services
from retune.server.storage.database import DatabaseUnavailableError
from retune.training_lines.keys import JsonMapping

_Request = TypeVar("_Request", bound=BaseModel)

_log = logging.getLogger(__name__)


def answer_request(services: Services, endpoint: str, request: BatchRequest) -> BatchResult:
    """Answer a request.

    Returns:
        The line for the output file or, where the answer is an error, for the error file.

    Raises:
        Exception: The disk is full or the database is away: the same request may be answered later.
    """
    request_id = ids.new_request_id()
    try:
        status, body = 200, _ENDPOINTS[canonical_endpoint(endpoint)](services, request.body)
    except DatabaseUnavailableError:
        raise
    except ApiError as error:
        status, body = error.status, error.body
    except Exception as error:
        if is_out_of_space(error):
            raise
        _log.exception("%s: a request of a batch to %s failed", request_id, endpoint)
        status, body = 500, internal_error(request_id).body
    response: ResultResponse = {"status_code": status, "request_id": request_id, "body": body}
    return {"id": ids.new_id("batch_req_"), "custom_id": request.custom_id, "response": response, "error": None}


def unanswered(request: BatchRequest, code: str, message: str) -> BatchResult:
    """The line for the error file of a request that was never answered."""
    error: ResultError = {"code": code, "message": message}
    return {"id": ids.new_id("batch_req_"), "custom_id": request.custom_id, "response": None, "error": error}


def _answer_chat(services: Services, body: Mapping[str, object]) -> JsonMapping:
    return answer_chat(services, _read(ChatRequest, body))


def _answer_completion(services: Services, body: Mapping[str, object]) -> JsonMapping:
    return answer_completion(services, _read(CompletionRequest, body))


def _answer_response(services: Services, body: Mapping[str, object]) -> JsonMapping:
    return answer_response(services, _read(ResponseRequest, body))


def _read(model: type[_Request], body: Mapping[str, object]) -> _Request:
    try:
        request = model.model_validate(body)
    except ValidationError as error:
        raise from_validation(error.errors(include_url=False)) from None
    if body.get("stream"):
        message = "A request of a batch is answered whole: leave out 'stream', or set it to false."
        raise ApiError(400, message, param="stream", code="invalid_value")
    return request


_ENDPOINTS: Final[Mapping[str, Callable[[Services, JsonMapping], JsonMapping]]] = {
    "/v1/chat/completions": _answer_chat,
    "/v1/completions": _answer_completion,
    "/v1/responses": _answer_response,
}
