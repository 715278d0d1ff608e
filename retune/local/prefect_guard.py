"""What stands before Prefect's server: which hosts, web pages and callers may reach it.

Prefect by itself answers any host name and any web page, and leaves its documents open. A page that the user visits
could have it run commands as that user. The guard refuses:

* names in `Host` that are not its own: a page can point a name of its own at 127.0.0.1 (DNS rebinding);
* requests and WebSockets that a page of another origin makes, as a browser says in `Origin` and `Sec-Fetch-Site`;
* requests without Prefect's password or a browser's session, except for the health checks and the UI's files, which
  hold nothing of the user's. WebSockets bring the password in their first message, which Prefect checks.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retune.host_names import host_of, is_loopback, normalized_hosts
from retune.local.prefect_access import LINKS_PATH, PROOF_PATH, are_equal, as_basic
from retune.local.prefect_login import BrowserLogin, login_page, with_session_script

_OPEN = {"/api/health", "/api/ready"}
_API = ("/api", "/docs", "/redoc", "/openapi.json")
_READING = {"GET", "HEAD"}
_OTHER_PAGE = "Web pages of other addresses may not use this Prefect server."
_NO_PASSWORD = "This Prefect server requires its password, which `retune prefect env` prints as variables."  # noqa: S105
_SECURITY_HEADERS = {
    # Prefect's graphs compile code (PixiJS). Nothing of other addresses is let in, Amplitude's least of all.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """What the guard lets in.

    Attributes:
        url: Where people open Prefect; links start with it.
        password: Prefect's, as `name:password`.
        names: Host names that are its own, besides localhost, loopback addresses and the host of `url`.
        answers_any_ip: Whether any IP address in `Host` is its own: it listens on all, and a page can't rebind one.
    """

    url: str
    password: str
    names: frozenset[str] = frozenset()
    answers_any_ip: bool = False


class PrefectGuard:
    """An ASGI application in front of Prefect's.

    Args:
        app: Prefect's.
        settings: What to let in.
        login: How browsers log in.
        prove: Gives the proof that this is the server of its directory, for a challenge.
    """

    def __init__(self, app: ASGIApp, settings: GuardSettings, login: BrowserLogin, prove: Callable[[str], str]) -> None:
        self._app = app
        self._settings = settings
        self._login = login
        self._prove = prove
        self._basic = as_basic(settings.password)
        address = urlsplit(settings.url)
        self._ui_origin = f"{address.scheme}://{address.netloc}".lower()
        self._names = normalized_hosts((*settings.names, address.hostname or ""))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse, or pass on to Prefect."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refuse_page(scope)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": refusal[1][:100]})
            return
        answer = _refused(*refusal) if refusal else await self._answer(Request(scope, receive))
        await answer(scope, receive, _securing(send, scope["path"]))

    def _refuse_page(self, scope: Scope) -> tuple[int, str] | None:
        """Status and message for a host name that is not ours or a page that is not the UI's; None for all else."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._is_own_host(hosts[0]):
            return 421, (
                f"This Prefect server does not accept the host name {', '.join(hosts)!r}. It accepts names of its own "
                "machine, the host of PREFECT_UI_URL, and those in RETUNE_PREFECT_ALLOWED_HOSTS."
            )
        own = {f"http://{hosts[0].lower()}", self._ui_origin}
        if len(origins) > 1 or not own.issuperset(origin.lower() for origin in origins):
            return 403, _OTHER_PAGE
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and not _follows_a_link(scope, headers):
            return 403, _OTHER_PAGE
        return None

    def _is_own_host(self, host: str) -> bool:
        name = host_of(host)
        if name is None:
            return False
        if is_loopback(name) or name in self._names:
            return True
        return self._settings.answers_any_ip and _is_ip_address(name)

    async def _answer(self, request: Request) -> ASGIApp:
        """Who answers: the guard, or Prefect with a password that it takes."""
        path, is_reading = request.scope["path"], request.method in _READING
        if is_reading and path in {*_OPEN, PROOF_PATH}:
            return self._app if path in _OPEN else PlainTextResponse(self._prove(request.url.query))
        if path == LINKS_PATH or path.startswith(_API):
            return self._answer_api(request, path, is_reading=is_reading)
        if answer := await self._login.answer(request):
            return answer
        if not is_reading:
            return _refused(405, "Pages accept only GET and HEAD.")
        if "text/html" not in request.headers.get("accept", ""):
            return self._app
        return with_session_script(self._app) if self._login.has_session(request) else login_page(401)

    def _answer_api(self, request: Request, path: str, *, is_reading: bool) -> ASGIApp:
        # A document is opened by its address, without the header that the UI's own requests have.
        may_read = is_reading and not path.startswith("/api") and self._login.has_session(request)
        if not may_read and not self._has_credentials(request):
            return _refused(401, _NO_PASSWORD)
        if path != LINKS_PATH:
            return self._with_password(request.scope)
        return (
            JSONResponse({"url": self._login.new_link(self._settings.url)})
            if request.method == "POST"
            else _refused(405, "A new link needs POST.")
        )

    def _has_credentials(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        given = given.strip()
        return scheme.lower() == "basic" and (
            are_equal(given, self._basic) or self._login.has_both_halves(request, given)
        )

    def _with_password(self, scope: Scope) -> ASGIApp:
        kept = [(name, value) for name, value in scope["headers"] if name not in {b"authorization", b"cookie"}]
        headers = [*kept, (b"authorization", f"Basic {self._basic}".encode())]

        async def answer(_scope: Scope, receive: Receive, send: Send) -> None:
            await self._app({**scope, "headers": headers}, receive, send)

        return answer


def _follows_a_link(scope: Scope, headers: Headers) -> bool:
    """Whether a person came here from another site, to a page of the UI in a window of its own."""
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
        and not scope["path"].startswith(_API)
    )


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _refused(status: int, message: str) -> Response:
    # `exception_message` is where Prefect's clients look, `detail` where people do.
    return JSONResponse({"exception_message": message, "detail": message}, status)


def _securing(send: Send, path: str) -> Send:
    async def send_secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_SECURITY_HEADERS)
            if message["status"] == 503 and path.endswith("/labels"):
                # Something else wrote to SQLite between Prefect's reading and writing. That is over soon, and Prefect's
                # client would wait for two seconds; at once it would meet the connection that is closing.
                headers["retry-after"] = "0.1"
        await send(message)

    return send_secured
