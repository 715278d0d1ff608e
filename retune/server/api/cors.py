"""Which web pages of other origins may read this server's answers: those that the operator lists; by default none."""

from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from retune.server.settings import ServerSettings

_METHODS: Final = ("GET", "POST", "DELETE")
_READABLE_HEADERS: Final = (
    *("x-request-id", "openai-version", "openai-processing-ms", "x-should-retry", "retry-after"),
    "content-disposition",
)


class ListedOrigins(CORSMiddleware):
    """Answers preflights of listed origins, and lets their pages read what comes back.

    Requests of any other origin go through as if this were not here: their preflights find no such method, and their
    pages can't read an answer. Keys travel in a header and no cookie is ever looked at, so credentials stay off. A page
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
