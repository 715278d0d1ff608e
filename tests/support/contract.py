"""The published API document as a judge: every answer that a test gets is held against it.

The real service departs from its own document in a few places, and this server with it; they are patched here, once.
"""

import copy
import functools
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx2
import yaml
from openapi_schema_validator import OAS31Validator

CONTRACT = Path(__file__).parents[1] / "contract"

_PREFIX = re.compile(r"^(?:/v1|/openai/v1|/openai/deployments/[^/]+|/openai)(?=/)")
_EVENT_STREAM = "text/event-stream"
_JSON = "application/json"
_OCTETS = "application/octet-stream"
_ERROR = {"$ref": "#/components/schemas/ErrorResponse"}
_BATCH_NOT_YET = (
    *("errors", "output_file_id", "error_file_id", "in_progress_at", "expires_at", "finalizing_at", "completed_at"),
    *("failed_at", "expired_at", "cancelling_at", "cancelled_at", "usage", "model"),
)


def or_null(schema: Any) -> dict[str, Any]:
    """What `schema` takes, and null."""
    return {"anyOf": [schema, {"type": "null"}]}


def deviate(schemas: dict[str, Any]) -> None:
    """Patch the places where recorded answers of the real service depart from its document."""

    def patch(name: str, *properties: str) -> None:
        for each in properties:
            schemas[name]["properties"][each] = or_null(schemas[name]["properties"][each])

    patch("OpenAIFile", "expires_at", "status_details")
    # A purpose to upload with, and not among those to answer with.
    schemas["OpenAIFile"]["properties"]["purpose"]["enum"].append("evals")
    patch("ListFilesResponse", "first_id", "last_id")
    patch("ListBatchesResponse", "first_id", "last_id")
    patch("Batch", *_BATCH_NOT_YET)
    patch("FineTuningJobEvent", "data")
    # For methods other than supervised.
    patch("FineTuningJob", "hyperparameters")
    job = schemas["FineTuningJob"]["properties"]
    # The document's own example of a pause shows it.
    job["status"]["enum"].append("paused")


@functools.cache
def published() -> dict[str, Any]:
    """The document as it was published."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load((CONTRACT / "openapi-subset.yaml").read_text(), loader)  # noqa: S506  # both are safe
    return found


@functools.cache
def document() -> dict[str, Any]:
    """The document with the deviations that are real."""
    found = copy.deepcopy(published())
    deviate(found["components"]["schemas"])
    content = found["paths"]["/files/{file_id}/content"]["get"]["responses"]["200"]
    # Recorded: the bytes themselves, where the document says a JSON string.
    content["content"] = {_OCTETS: {"schema": {"type": "string", "format": "binary"}}}
    return found


@dataclass(frozen=True)
class Operation:
    """One operation of the document."""

    name: str
    method: str
    pattern: re.Pattern[str]
    content: dict[str, Any]


@functools.cache
def operations() -> tuple[Operation, ...]:
    """Every operation; addresses without parameters come first, as `/uploads/{id}` must not hide one of them."""
    paths = sorted(document()["paths"].items(), key=lambda item: item[0].count("{"))
    return tuple(
        Operation(
            name=operation["operationId"],
            method=method.upper(),
            pattern=re.compile(re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(path))),
            content=operation["responses"]["200"]["content"],
        )
        for path, item in paths
        for method, operation in item.items()
        if method in {"get", "post", "delete"}
    )


def operation_of(method: str, raw_path: str) -> Operation | None:
    """The operation that a request means; None for one that the document does not have."""
    path = _PREFIX.sub("", raw_path.partition("?")[0])
    found = (one for one in operations() if one.method == method and one.pattern.fullmatch(path))
    return next(found, None)


def problems_of(schema: dict[str, Any], value: Any) -> list[str]:
    """Where a value departs from a schema of the document."""
    return [f"{error.json_path}: {error.message}" for error in _validator(json.dumps(schema)).iter_errors(value)]


@functools.cache
def _validator(schema: str) -> Any:
    return OAS31Validator({**json.loads(schema), "components": document()["components"]})


@dataclass
class Judge:
    """Holds answers against the document, and remembers.

    Attributes:
        complaints: What was wrong, with the request.
        answered: Names of the operations that had an answer that is no error.
    """

    complaints: list[str] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)

    def see(self, method: str, raw_path: str, status: int, content_type: str, body: bytes | None) -> None:
        """Judge one answer; `body` is None where it is read by somebody else."""
        if status in {204, 307, 308} or not _PREFIX.match(raw_path):
            return
        operation = operation_of(method, raw_path)
        kind = content_type.partition(";")[0].strip()
        if status < 400 and operation:
            self.answered.add(operation.name)
        for problem in _judge(operation, status, kind, body):
            self.complaints.append(f"{method} {unquote(raw_path)} -> {status}: {problem}")

    def take_complaints(self) -> list[str]:
        """What was wrong since the last time."""
        taken, self.complaints = self.complaints, []
        return taken


JUDGE = Judge()


def _judge(operation: Operation | None, status: int, kind: str, body: bytes | None) -> Iterator[str]:
    if status >= 400:
        yield from _judge_error(kind, body)
    elif operation and kind not in operation.content:
        yield f"the content type is {kind}, expected one of {sorted(operation.content)}"
    elif operation and body is not None and kind != _OCTETS:
        schema = operation.content[kind]["schema"]
        values = list(events(body)) if kind == _EVENT_STREAM else [json.loads(body)]
        for value in values:
            yield from problems_of(schema, value)


def _judge_error(kind: str, body: bytes | None) -> Iterator[str]:
    if kind != _JSON:
        yield f"the content type of an error is {kind}, expected {_JSON}"
    elif body is not None:
        value = json.loads(body)
        yield from problems_of(_ERROR, value)
        error = value.get("error")
        if isinstance(error, dict) and set(error) != {"message", "type", "param", "code"}:
            yield f"an error has four keys, found {sorted(error)}"


def events(body: bytes) -> Iterator[Any]:
    """The JSON of the whole events of a stream, but for the one that says that it is done."""
    for event in body.decode().split("\n\n")[:-1]:
        if event.startswith("data: ") and event != "data: [DONE]":
            yield json.loads(event.removeprefix("data: "))


class _Overheard(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A stream that somebody else reads; at its end, or where the reader leaves, it is judged."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._stream: Any = response.stream
        self._heard: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._heard.append(piece)
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._heard.append(piece)
            yield piece

    def close(self) -> None:
        self._stream.close()
        _see(self._response, b"".join(self._heard))

    async def aclose(self) -> None:
        await self._stream.aclose()
        _see(self._response, b"".join(self._heard))


def _see(response: httpx2.Response, body: bytes | None) -> None:
    request = response.request
    kind = response.headers.get("content-type", "")
    JUDGE.see(request.method, request.url.raw_path.decode(), response.status_code, kind, body)


def _is_read_by_others(response: httpx2.Response) -> bool:
    return bool(response.headers.get("content-type", "").startswith((_EVENT_STREAM, _OCTETS)))


def see_response(response: httpx2.Response) -> None:
    """Event hook for a client: judge every response, and leave streams to their reader."""
    if _is_read_by_others(response):
        response.stream = _Overheard(response)
    else:
        _see(response, response.read())


async def see_async_response(response: httpx2.Response) -> None:
    """`see_response` for asynchronous clients."""
    if _is_read_by_others(response):
        response.stream = _Overheard(response)
    else:
        _see(response, await response.aread())
