"""Rewrites the paths that Azure's clients use to the API's own.

* `/openai/v1/…`: the API itself.
* `/openai/…?api-version=…`: files, fine-tuning, batches, uploads, models and responses.
* `/openai/deployments/{deployment}/chat/completions?api-version=…`, and `/completions`: the deployment is the model,
  whatever model the body names.
"""

from dataclasses import dataclass
from urllib.parse import parse_qs

from retune.server.errors import ApiError

PREFIX = "/openai/"
_V1 = "/openai/v1/"
_DEPLOYMENTS = "/openai/deployments/"
_CALLS = ("/chat/completions", "/completions")
_RESOURCES = frozenset({"files", "fine_tuning", "batches", "uploads", "models", "responses"})


@dataclass(frozen=True, slots=True)
class RewrittenPath:
    """The path that an Azure path stands for.

    Attributes:
        path: Below `/v1`.
        model: The model that the path names; None where it names none.
    """

    path: str
    model: str | None = None


def rewrite_azure_path(path: str, query_string: bytes) -> RewrittenPath:
    """Rewrite a path below `/openai/`.

    Args:
        path: Decoded, without the query.
        query_string: As it came.

    Raises:
        ApiError: 404, in Azure's words: there is no such address, or `api-version` is missing.
    """
    if path.startswith(_V1):
        return RewrittenPath("/v1/" + path.removeprefix(_V1))
    if not parse_qs(query_string.decode("latin-1")).get("api-version"):
        raise _resource_not_found()
    if path.startswith(_DEPLOYMENTS):
        return _of_deployment(path.removeprefix(_DEPLOYMENTS))
    rest = path.removeprefix(PREFIX)
    if rest.partition("/")[0] not in _RESOURCES:
        raise _resource_not_found()
    return RewrittenPath("/v1/" + rest)


def _of_deployment(rest: str) -> RewrittenPath:
    for call in _CALLS:
        model = rest.removesuffix(call)
        if model and model != rest:
            return RewrittenPath("/v1" + call, model)
    raise _resource_not_found()


def _resource_not_found() -> ApiError:
    return ApiError(404, "Resource not found", code="404")
