"""Which web pages may use the server.

Without a key, only those of its own machine. A page on the web can point a name of its own at 127.0.0.1 and have its
visitors' browsers send requests to whatever listens there (DNS rebinding), or send requests whose answers it can't
read. A browser reveals both: the first by the name in `Host`, the second by the page's address in `Origin`. Where a key
is required, such pages have none and are refused for that.

Answers are readable to pages of other origins only where the operator lists the origin (CORS); by default none is.
"""

from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from retune.host_names import host_of, host_of_origin, is_loopback, normalized_hosts
from retune.server.errors import ApiError
from retune.server.settings import ServerSettings

_METHODS: Final = ("GET", "POST", "DELETE")
_READABLE_HEADERS: Final = (
    *("x-request-id", "openai-version", "openai-processing-ms", "x-should-retry", "retry-after"),
    "content-disposition",
)


class HostCheck:
    """Refuses names and pages that are not this machine's or the operator's own."""

    def __init__(self, settings: ServerSettings) -> None:
        self._names = normalized_hosts((settings.host, *settings.allowed_hosts))

    def refuse(self, host: str | None, origin: str | None) -> ApiError | None:
        """The error for a request's `Host` and `Origin`; None if they are allowed."""
        if host is not None and not self._is_own(host_of(host)):
            return _forbidden(
                f"This server does not go by the name '{host}'. It has no API key, and so answers only to names of "
                "its own machine; start it with --allowed-host to add one, or give it a key."
            )
        if origin is not None and not self._is_own(host_of_origin(origin)):
            return _forbidden(
                f"Web pages of '{origin}' may not use this server. It has no API key, and so answers only to pages of "
                "its own machine; start it with --allowed-host to add one, or give it a key."
            )
        return None

    def _is_own(self, host: str | None) -> bool:
        return host is not None and (host in self._names or is_loopback(host))


def _forbidden(message: str) -> ApiError:
    return ApiError(403, message, code="host_not_allowed")


class ListedOrigins(CORSMiddleware):
    """Answers preflights of listed origins, and lets their pages read what comes back.

    Requests of any other origin go through as if this were not here: their preflights find no such method, and their
    pages can't read an answer. Keys travel in a header and cookies are ignored, so credentials stay off. A page
    on the web asks by a preflight for leave to reach a private address, and gets it where its origin is listed.
    """

    def __init__(self, app: ASGIApp, *, settings: ServerSettings) -> None:
        super().__init__(
            app,
            allow_origins=settings.allowed_origins,
            allow_methods=_METHODS,
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=_READABLE_HEADERS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        is_listed = scope["type"] == "http" and Headers(scope=scope).get("origin") in self.allow_origins
        await (super().__call__ if is_listed else self.app)(scope, receive, send)
