"""The body of POST /v1/batches."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from retune.server.api.request_fields import ExpiresAfter, Metadata, PlainText, RequestModel, shown

# Azure's clients write the endpoints without the version.
Endpoint = Literal[
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/chat/completions",
    "/completions",
    "/responses",
]

_VERSION: Final = "/v1"
_OFFERED = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
_NOT_OFFERED = {
    "/v1/embeddings",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
}


def canonical_endpoint(endpoint: str) -> str:
    """The endpoint of this API that a batch, or a line of its input, names; Azure's spelling has no `/v1`."""
    return endpoint if endpoint.startswith(f"{_VERSION}/") else _VERSION + endpoint


def _offered(value: Any) -> Any:
    if isinstance(value, str) and canonical_endpoint(value) in _OFFERED:
        return value
    expected = " or ".join(f"'{endpoint}'" for endpoint in _OFFERED)
    if isinstance(value, str) and value in _NOT_OFFERED:
        raise PydanticCustomError(
            "unsupported_value",
            "batches of '{endpoint}' are not supported by this server; use {expected}",
            {"endpoint": value, "expected": expected},
        )
    raise ValueError(f"expected {expected}, but got {shown(value)}")


class CreateBatchRequest(RequestModel):
    """A batch as a client asks for it."""

    input_file_id: PlainText = Field(min_length=1)
    endpoint: Annotated[Endpoint, PlainValidator(_offered)]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None
