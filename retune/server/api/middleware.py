"""What applies to every request: its key, its address, its size limit, its headers, and a fallback for errors."""

import logging
import re
from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from retune.server import errors
from retune.server.api import azure
from retune.server.api.authentication import ApiKeyCheck, sent_key
from retune.server.api.idempotency import hash_of
from retune.server.api.origins import HostCheck
from retune.server.api.request_bodies import MODEL_OVERRIDE
from retune.server.api.request_context import BodyLimits, BodyMemory, RequestContext, current_request
from retune.server.errors import ApiError
from retune.server.request_metrics import UNKNOWN
from retune.server.services import Services

_log = logging.getLogger(__name__)
_request_log = logging.getLogger("retune.server.requests")
_SLASHES = re.compile("/{2,}")
_HEALTH = "/health"
# Reading them takes time that grows with the square of their number.
_MAX_QUERY_PARAMETERS = 100


class ApiMiddleware:
    """Answers every request with the API's headers, and every failure with its error body."""

    def __init__(self, app: ASGIApp, *, services: Services) -> None:
        self._app = app
        self._metrics = services.metrics
        self._key_check = ApiKeyCheck(services.settings.api_key, services.database)
        self._host_check = HostCheck(services.settings)
        self._allowed_origins = frozenset(services.settings.allowed_origins)
        self._body_limits = BodyLimits(services.settings, services.trainer)
        self._body_memory = BodyMemory()
        self._logs_requests = services.settings.log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = RequestContext(receive, send, caller=_caller(scope), memory=self._body_memory)
        current_request.set(exchange)
        self._metrics.in_flight.inc()
        try:
            await self._run(scope, exchange)
        finally:
            self._metrics.in_flight.dec()
            exchange.close()
            self._record(scope, exchange)

    async def _run(self, scope: Scope, exchange: RequestContext) -> None:
        try:
            await self._admit(scope, exchange)
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            _log.info("%s: the client disconnected during its request", exchange.request_id)
        except Exception as error:
            if exchange.status:
                raise
            response = _explain(error, scope, exchange.request_id).response()
            await response(scope, exchange.receive, exchange.send)

    async def _admit(self, scope: Scope, exchange: RequestContext) -> None:
        """Check a request by its headers, and rewrite its path.

        Raises:
            ApiError: It is refused.
        """
        headers = dict(scope["headers"])
        if scope["query_string"].count(b"&") >= _MAX_QUERY_PARAMETERS:
            raise ApiError(400, f"The address has too many parameters: expected at most {_MAX_QUERY_PARAMETERS}.")
        path: str = scope["path"]
        if "//" in path:
            # The recorded service reads /jobs//events as /jobs/events.
            path = scope["path"] = _SLASHES.sub("/", path)
        if path != _HEALTH:
            await self._check_sender(headers)
        if path.startswith(azure.PREFIX):
            address = azure.rewrite_azure_path(path, scope["query_string"])
            path = scope["path"] = address.path
            scope[MODEL_OVERRIDE] = address.model
        exchange.limit_body(self._body_limits.of(path), headers)

    async def _check_sender(self, headers: Mapping[bytes, bytes]) -> None:
        if await self._key_check.requires_key():
            refusal = await self._key_check.refuse(_text(headers, b"authorization"), _text(headers, b"api-key"))
        else:
            origin = _text(headers, b"origin")
            foreign_origin = None if origin in self._allowed_origins else origin
            refusal = self._host_check.refuse(_text(headers, b"host"), foreign_origin)
        if refusal:
            raise refusal

    def _record(self, scope: Scope, exchange: RequestContext) -> None:
        route = scope.get("route")
        template = UNKNOWN if route is None else str(route.path)
        self._metrics.count_request(
            scope["method"], template, exchange.status, exchange.seconds, exchange.received_bytes
        )
        if self._logs_requests:
            # As it came, still encoded: a decoded path could hold line ends.
            path = scope["raw_path"].decode("ascii", "replace")
            milliseconds = exchange.seconds * 1000
            _request_log.info(
                "%s %s %s %d %.1f ms", exchange.request_id, scope["method"], path, exchange.status, milliseconds
            )


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def _caller(scope: Scope) -> str:
    """Identifies the caller of a request: its key, which is validated if the server has any, and its address."""
    headers = dict(scope["headers"])
    key = sent_key(_text(headers, b"authorization"), _text(headers, b"api-key"))
    return hash_of(key, (scope.get("client") or ("",))[0])


def _explain(error: Exception, scope: Scope, request_id: str) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if errors.is_out_of_space(error):
        _log.error("%s: the disk is full: %s", request_id, error)
        return errors.out_of_space()
    _log.error("%s: %s %r failed", request_id, scope["method"], scope["path"], exc_info=error)
    return errors.internal_error(request_id)
