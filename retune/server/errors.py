"""Errors in the API's format: `{"error": {"message", "type", "param", "code"}}`, for every kind of failure."""

import errno
import re
from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic_core import ErrorDetails
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from retune.server.validation_messages import Fault, fault_of

_LONGEST_MESSAGE = 4000
_LONGEST_PARAM = 200
_REDIRECTED = "/v1/fine_tuning/"
_SLASHES = re.compile("/+")
_OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT}
# pydantic's error types for a request without a body, or with one that is not a JSON object.
_NO_OBJECT = {"missing", "model_type", "model_attributes_type", "dict_type"}


class ApiError(Exception):
    """An error answer.

    Args:
        status: HTTP status.
        message: What was expected, what was found.
        param: The request field to blame.
        code: Machine-readable reason.
        type: Error type; `invalid_request_error` for everything that the client can fix.
        headers: Further response headers.
        retryable: Whether the same request may succeed a little later. Where it can't, a header says so: the
            SDKs retry 409, 429 and 5xx automatically.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        type: str = "invalid_request_error",  # noqa: A002  # the field's name on the wire
        headers: Mapping[str, str] | None = None,
        retryable: bool = False,
    ) -> None:
        # Texts of the request may hold what no answer can, and may be as long as the request.
        message = _cut(_encodable(message), _LONGEST_MESSAGE)
        param = param and _cut(_encodable(param), _LONGEST_PARAM)
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": type, "param": param, "code": code}}
        self.headers = dict(headers or {})
        if not retryable:
            self.headers["x-should-retry"] = "false"

    def response(self) -> JSONResponse:
        """The HTTP response."""
        return JSONResponse(self.body, self.status, self.headers)


def invalid_url(method: str, path: str) -> ApiError:
    """404 for an address that is not part of the API."""
    return ApiError(404, f"Invalid URL ({method} {path})")


def invalid_json() -> ApiError:
    """400 for a body that is not JSON."""
    return ApiError(400, "We could not parse the JSON body of your request: it is not valid JSON.")


def internal_error(request_id: str) -> ApiError:
    """500 for an unexpected error; the log has it under the request's id."""
    return ApiError(
        500,
        f"The server had an error while processing your request. Its log says more under {request_id}.",
        type="server_error",
        retryable=True,
    )


def out_of_space() -> ApiError:
    """507: the server's disk is full."""
    return ApiError(
        507,
        "The server's disk is full: nothing was stored. Make room in its data directory and try again.",
        type="server_error",
        code="insufficient_storage",
    )


def is_out_of_space(error: BaseException) -> bool:
    """Whether an error means that the disk is full."""
    if isinstance(error, OperationalError):
        return "disk is full" in str(error.orig)
    return isinstance(error, OSError) and error.errno in _OUT_OF_SPACE


def from_validation(problems: Sequence[ErrorDetails]) -> ApiError:
    """400 for the first of the errors that pydantic found in a request; they must hold their `input`."""
    problem = problems[0]
    kind = str(problem["type"])
    if kind == "json_invalid":
        return invalid_json()
    fault = fault_of(problem)
    if fault.param is None and kind in _NO_OBJECT:
        return ApiError(400, "The request's body must be a JSON object, with Content-Type: application/json.")
    return invalid(fault)


def invalid(fault: Fault) -> ApiError:
    """400 for an invalid field."""
    return ApiError(400, fault.message, param=fault.param, code=fault.code)


def missing_parameter(name: str) -> ApiError:
    """400 for a required field that is missing."""
    return ApiError(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def too_large(what: str, max_bytes: int, *, param: str | None = None) -> ApiError:
    """413 for what exceeds its limit."""
    return ApiError(413, f"The {what} is larger than the limit of {max_bytes} bytes.", param=param)


def context_exceeded(context_tokens: int, found: str, *, param: str | None = "messages") -> ApiError:
    """400 for a prompt that is longer than a model's context, in the API's words; `found` describes its length."""
    what = param or "prompt"
    message = (
        f"This model's maximum context length is {context_tokens} tokens. However, your {what} resulted in {found}. "
        f"Please reduce the length of the {what}."
    )
    return ApiError(400, message, param=param, code="context_length_exceeded")


def unknown_parameter(name: str) -> ApiError:
    """400 for a request field that the API does not have."""
    return ApiError(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def add_error_handlers(app: FastAPI) -> None:
    """Give every error that FastAPI and Starlette raise the API's own body."""
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _cut(text: str, longest: int) -> str:
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


async def _on_api_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)  # noqa: S101  # registered for this type alone
    return error.response()


async def _on_validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for this type alone
    return from_validation(error.errors()).response()


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for this type alone
    method, path = request.method, request.url.path
    if error.status_code == 404:
        return _without_slash(request) or invalid_url(method, path).response()
    if error.status_code == 400:
        # FastAPI's own 400, for whatever it met while it read the body: our limit, or bytes that are not JSON text.
        reason = error.__cause__
        return (reason if isinstance(reason, ApiError) else invalid_json()).response()
    if error.status_code == 405:
        allow = _allowed_methods(request, (error.headers or {}).get("Allow", ""))
        message = f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)"
        return ApiError(405, message, headers={"Allow": allow}).response()
    return ApiError(error.status_code, str(error.detail), headers=error.headers).response()


def _without_slash(request: Request) -> Response | None:
    """Redirect an address of fine-tuning with a slash at its end, as recorded; those of other resources are unknown."""
    path: str = request.scope["path"]
    if not path.startswith(_REDIRECTED) or not path.endswith("/"):
        return None
    scope = {**request.scope, "path": path.rstrip("/")}
    if not any(route.matches(scope)[0] is not Match.NONE for route in request.app.routes):
        return None
    # The address that was asked for, which may be one of Azure's, and never a host that a client named. Runs of
    # slashes are one: two at the beginning would be a host again.
    address = _SLASHES.sub("/", request.scope["raw_path"].decode("ascii", "replace")).rstrip("/")
    query = request.url.query
    return RedirectResponse(f"{address}?{query}" if query else address)


def _allowed_methods(request: Request, reported: str) -> str:
    # Starlette reports the methods of the first matching route only.
    routes = (route for route in request.app.routes if isinstance(route, Route))
    meant = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return ", ".join(sorted({reported, *(method for route in meant for method in route.methods or ())} - {""}))
