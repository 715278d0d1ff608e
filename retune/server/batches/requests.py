"""The body of POST /v1/batches."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

Endpoint = Literal["/v1/chat/completions", "/v1/completions"]

_OFFERED = ("/v1/chat/completions", "/v1/completions")
_NOT_OFFERED = {
    "/v1/responses",
    "/v1/embeddings",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
}
_MAX_METADATA_PAIRS = 16


def _offered(value: Any) -> Any:
    if value in _OFFERED:
        return value
    expected = " or ".join(f"'{endpoint}'" for endpoint in _OFFERED)
    if isinstance(value, str) and value in _NOT_OFFERED:
        raise PydanticCustomError(
            "unsupported_value",
            "batches of '{endpoint}' are not supported by this server; use {expected}",
            {"endpoint": value, "expected": expected},
        )
    raise ValueError(f"expected {expected}, but got {value!r}")


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class OutputExpiresAfter(_Request):
    """How long the output and error files are kept, from their creation."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2_592_000)


class CreateBatchRequest(_Request):
    """A batch as a client asks for it."""

    input_file_id: str = Field(min_length=1)
    endpoint: Annotated[Endpoint, PlainValidator(_offered)]
    completion_window: Literal["24h"]
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None = Field(
        None, max_length=_MAX_METADATA_PAIRS
    )
    output_expires_after: OutputExpiresAfter | None = None
