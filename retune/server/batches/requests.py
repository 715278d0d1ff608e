"""The requests of a batch: the body of POST /v1/batches, and the input file with one request per line."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, NoReturn, TypedDict

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from retune.server.api.request_bodies import Metadata, PlainText, RequestModel, shown
from retune.server.files.rules import ExpiresAfter
from retune.server.json_input import TOO_LONG, input_lines, is_too_long, parse_json
from retune.training_lines.keys import JsonObject

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
MAX_REQUESTS = 50_000
MAX_ERRORS = 100
_FIELDS: dict[str, tuple[type, str]] = {
    "custom_id": (str, "a string"),
    "method": (str, "a string"),
    "url": (str, "a string"),
    "body": (dict, "an object"),
}


def canonical_endpoint(endpoint: str) -> str:
    """The endpoint of this API that a batch, or a line of its input, names; Azure's spelling has no `/v1`."""
    return endpoint if endpoint.startswith(f"{_VERSION}/") else _VERSION + endpoint


def _offered(value: object) -> object:
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
    """The body of POST /v1/batches."""

    input_file_id: PlainText = Field(min_length=1)
    endpoint: Annotated[Endpoint, PlainValidator(_offered)]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One request of a batch, from a file that was checked."""

    custom_id: str
    body: JsonObject


@dataclass(frozen=True, slots=True)
class CheckedInput:
    """What a valid input file contains.

    Attributes:
        total: How many requests.
        model: The model that all of them ask.
    """

    total: int
    model: str


class BatchError(TypedDict):
    """The BatchError object."""

    code: str
    message: str
    param: str | None
    line: int | None


class InvalidInputError(Exception):
    """An input file can't be used.

    Args:
        errors: BatchError objects, at most `MAX_ERRORS`, in the order of their lines.
    """

    def __init__(self, errors: list[BatchError]) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors


def requests_of(path: Path, *, skip: int = 0) -> Iterator[BatchRequest]:
    """Read the requests of a checked file, without the first `skip`, holding one at a time."""
    for index, (_, line) in enumerate(input_lines(path)):
        if index >= skip:
            value = json.loads(line)
            yield BatchRequest(value["custom_id"], value["body"])


def check_input_file(path: Path, endpoint: str, should_stop: Callable[[], bool]) -> CheckedInput:
    """Check every line of an input file.

    Raises:
        InvalidInputError: There is no request in it, there are too many, or some are wrong.
        ReadingStoppedError: `should_stop` returned true.
    """
    check = _Check(endpoint)
    for number, line in input_lines(path, should_stop):
        check.add(number, line)
        if check.is_over:
            break
    if not check.total:
        check.report("empty_file", "The batch's input file holds no requests.", None, None)
    if check.errors:
        raise InvalidInputError(check.errors[:MAX_ERRORS])
    return CheckedInput(check.total, check.model)


@dataclass(slots=True)
class _Check:
    endpoint: str
    total: int = 0
    model: str = ""
    errors: list[BatchError] = field(default_factory=list)
    # Digests, as an id may be long and there may be many.
    _seen: set[bytes] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """Whether nothing further can change the outcome."""
        return self.total > MAX_REQUESTS or len(self.errors) >= MAX_ERRORS

    def add(self, number: int, line: bytes) -> None:
        self.total += 1
        if self.total > MAX_REQUESTS:
            text = f"The batch's input file holds more than the maximum of {MAX_REQUESTS} requests. Split it up."
            self.report("too_many_tasks", text, None, None)
            return
        value = self._parse(number, line)
        if value is not None:
            self._check_request(number, value)

    def report(self, code: str, message: str, param: str | None, line: int | None) -> None:
        self.errors.append({"code": code, "message": message, "param": param, "line": line})

    def _parse(self, number: int, line: bytes) -> JsonObject | None:
        reason = TOO_LONG
        if not is_too_long(line):
            try:
                value = parse_json(line, parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                reason = str(error)
            else:
                if isinstance(value, dict):
                    return value
                reason = "expected an object"
        self.report("invalid_json_line", f"This line is not parseable as valid JSON: {reason}.", None, number)
        return None

    def _check_request(self, number: int, value: JsonObject) -> None:
        for name, (kind, described) in _FIELDS.items():
            self._check_type(number, name, value.get(name), kind, described)
        if isinstance(value.get("custom_id"), str):
            self._check_custom_id(number, value["custom_id"])
        if isinstance(value.get("method"), str) and value["method"] != "POST":
            self.report("invalid_value", f"Expected 'POST', but got '{value['method'][:20]}'.", "method", number)
        if isinstance(value.get("url"), str) and canonical_endpoint(value["url"]) != canonical_endpoint(self.endpoint):
            text = f"The URL of this request does not match the batch's endpoint: expected '{self.endpoint}'."
            self.report("url_mismatch", text, "url", number)
        if isinstance(value.get("body"), dict):
            self._check_model(number, value["body"].get("model"))

    def _check_type(self, number: int, name: str, value: object, kind: type, described: str) -> None:
        if value is None:
            self.report("missing_required_parameter", f"Missing required parameter: '{name}'.", name, number)
        elif not isinstance(value, kind):
            self.report("invalid_type", f"Invalid type for '{name}': expected {described}.", name, number)

    def _check_custom_id(self, number: int, custom_id: str) -> None:
        digest = hashlib.sha256(custom_id.encode("utf-8", "surrogatepass")).digest()
        if digest in self._seen:
            text = (
                f"The custom_id '{custom_id[:100]}' of this request is a duplicate of another request's. "
                "It must be unique for each request of a batch."
            )
            self.report("duplicate_custom_id", text, "custom_id", number)
        self._seen.add(digest)

    def _check_model(self, number: int, model: object) -> None:
        self._check_type(number, "body.model", model, str, "a string")
        if not isinstance(model, str):
            return
        self.model = self.model or model
        if model != self.model:
            text = (
                f"The model '{model[:100]}' of this request does not match the rest of the batch, "
                f"which asks '{self.model[:100]}'. Each batch must hold requests for a single model."
            )
            self.report("model_mismatch", text, "body.model", number)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
