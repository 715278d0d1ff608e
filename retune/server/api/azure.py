"""The addresses that Azure's clients use, told as the API's own.

* `/openai/v1/…`: the API itself.
* `/openai/…?api-version=…`: files, fine-tuning, batches, uploads, models and responses.
* `/openai/deployments/{deployment}/chat/completions?api-version=…`, and `/completions`: the deployment is the model,
  whatever model the body names.
"""

import json
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.types import Message, Receive

from retune.server.errors import ApiError

PREFIX = "/openai/"
_V1 = "/openai/v1/"
_DEPLOYMENTS = "/openai/deployments/"
_CALLS = ("/chat/completions", "/completions")
_RESOURCES = frozenset({"files", "fine_tuning", "batches", "uploads", "models", "responses"})


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """Where a request of Azure's goes here.

    Attributes:
        path: Below `/v1`.
        model: What the address says that the model is; None where it says nothing.
    """

    path: str
    model: str | None = None


def own_address(path: str, query_string: bytes) -> OwnAddress:
    """Find the address that one below `/openai/` stands for.

    Args:
        path: Decoded, without the query.
        query_string: As it came.

    Raises:
        ApiError: 404, in Azure's words: there is no such address, or `api-version` is missing.
    """
    if path.startswith(_V1):
        return OwnAddress("/v1/" + path.removeprefix(_V1))
    if not parse_qs(query_string.decode("latin-1")).get("api-version"):
        raise _resource_not_found()
    if path.startswith(_DEPLOYMENTS):
        return _of_deployment(path.removeprefix(_DEPLOYMENTS))
    rest = path.removeprefix(PREFIX)
    if rest.partition("/")[0] not in _RESOURCES:
        raise _resource_not_found()
    return OwnAddress("/v1/" + rest)


def naming_model(receive: Receive, model: str) -> Receive:
    """Read a request whose body asks for `model`, whatever model it named itself."""
    is_told = False

    async def read() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        body = bytearray()
        more_body = True
        while more_body:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body.extend(message.get("body", b""))
            more_body = message.get("more_body", False)
        is_told = True
        return {"type": "http.request", "body": _with_model(bytes(body), model), "more_body": False}

    return read


def _of_deployment(rest: str) -> OwnAddress:
    for call in _CALLS:
        model = rest.removesuffix(call)
        if model and model != rest:
            return OwnAddress("/v1" + call, model)
    raise _resource_not_found()


def _with_model(body: bytes, model: str) -> bytes:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return body  # It is refused for what it is by whoever reads it.
    return json.dumps({**request, "model": model}).encode() if isinstance(request, dict) else body


def _resource_not_found() -> ApiError:
    return ApiError(404, "Resource not found", code="404")
