"""How a browser logs in to Prefect behind the guard: by a link that works once, or by Prefect's password.

The link's secret is a fragment, which no browser sends to any server: it appears in no log and in no `Referer`, and
programs that only open a link do not use it up. The page behind it posts the secret and gets a session's two halves.
"""

import json
import re
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retune.local.prefect_access import SESSION_SECONDS, BrowserSessions, OneTimeLinks, are_equal

LOGIN_PATH = "/retune/login"
SESSION_PATH = "/retune/session"
_FILES = Path(__file__).parent / "login_pages"
_SCRIPTS = {f"{LOGIN_PATH}.js": "login.js", f"{SESSION_PATH}.js": "session.js"}
_SCRIPT_TAG = f'<script src="{SESSION_PATH}.js"></script>'.encode()
_PORT = re.compile(r":([0-9]+)$")
_LARGEST_LOGIN = 4096
_COOKIE = "retune-prefect-"
_MOST_COOKIES = 20
_NO_STORE = {"cache-control": "no-store"}
# What would have Prefect answer with something else than its page as it is.
_NOT_FOR_PAGES = {b"accept-encoding", b"if-none-match", b"if-modified-since", b"range"}


class BrowserLogin:
    """Pages, sessions and links for browsers.

    Args:
        password: Prefect's, as `name:password`.
        links: Those that log a browser in.
        sessions: Those of browsers that are logged in.
    """

    def __init__(self, password: str, links: OneTimeLinks, sessions: BrowserSessions) -> None:
        self._password = password
        self._links = links
        self._sessions = sessions

    def new_link(self, url: str) -> str:
        """A link that logs a browser in, once.

        Args:
            url: Where people open Prefect.
        """
        return f"{url}{LOGIN_PATH}#{self._links.new()}"

    def has_session(self, request: Request) -> bool:
        """Whether a request brings a session's cookie, which is enough for pages and not for data."""
        return self._sessions.is_valid(_cookie(request))

    def has_both_halves(self, request: Request, page_secret: str) -> bool:
        """Whether a request brings a session's cookie and its other half."""
        return self._sessions.are_halves(_cookie(request), page_secret)

    async def answer(self, request: Request) -> Response | None:
        """Answer a request to one of these pages; None where it is to another."""
        path, is_reading = request.scope["path"], request.method in {"GET", "HEAD"}
        if path == SESSION_PATH:
            return await self._answer_session(request, is_reading=is_reading)
        if path in _SCRIPTS and is_reading:
            return FileResponse(_FILES / _SCRIPTS[path], headers={"cache-control": "no-cache"})
        # Prefect's own form to log in, too: it says nothing of links.
        return login_page(200) if path.endswith("/login") and is_reading else None

    async def _answer_session(self, request: Request, *, is_reading: bool) -> Response:
        if is_reading:
            page_secret = request.headers.get("authorization", "").removeprefix("Basic ")
            has_both = self.has_both_halves(request, page_secret)
            return Response(status_code=204 if has_both else 404, headers=_NO_STORE)
        if request.method == "DELETE":
            answer = Response(status_code=204)
            answer.delete_cookie(_cookie_name(request), httponly=True, samesite="strict")
            return answer
        given = await _read_login(request) if request.method == "POST" else {}
        has_link = "token" in given and self._links.use(given["token"])
        if has_link or ("password" in given and are_equal(given["password"], self._password)):
            return self._begin_session(request)
        return JSONResponse({"detail": "The link was used before or has expired, or the password is wrong."}, 403)

    def _begin_session(self, request: Request) -> Response:
        cookie = self._sessions.new_cookie()
        answer = JSONResponse({"page_secret": self._sessions.page_secret(cookie)}, headers=_NO_STORE)
        for name in _too_many_cookies(request):
            answer.delete_cookie(name, httponly=True, samesite="strict")
        answer.set_cookie(
            _cookie_name(request),
            cookie,
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.headers.get("origin", "").startswith("https:"),
        )
        return answer


def login_page(status: int) -> Response:
    """The page that says how to log in, and does."""
    return FileResponse(_FILES / "login.html", status_code=status, headers=_NO_STORE)


def with_session_script(app: ASGIApp) -> ASGIApp:
    """Prefect's UI with our script in its pages, before its own."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name not in _NOT_FOR_PAGES]
        start: Message = {}
        body = b""

        async def send_changed(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            if Headers(raw=start["headers"]).get("content-type", "").startswith("text/html"):
                body = body.replace(b"<head>", b"<head>" + _SCRIPT_TAG, 1)
                changed = MutableHeaders(scope=start)
                changed["content-length"] = str(len(body))
                changed["cache-control"] = "no-store"
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await app({**scope, "headers": headers}, receive, send_changed)

    return answer


def _cookie_name(request: Request) -> str:
    # A browser has one jar for all ports of a host, and each run's server has a port of its own.
    port = _PORT.search(request.headers.get("host", ""))
    return f"{_COOKIE}{port[1] if port else 'default'}"


def _too_many_cookies(request: Request) -> list[str]:
    """The oldest of this host's: every server on it gets all of them, and would refuse such headers some day."""
    others = [name for name in request.cookies if name.startswith(_COOKIE) and name != _cookie_name(request)]
    # Each value begins with the time of its end.
    return sorted(others, key=request.cookies.__getitem__, reverse=True)[_MOST_COOKIES - 1 :]


def _cookie(request: Request) -> str:
    return request.cookies.get(_cookie_name(request), "")


async def _read_login(request: Request) -> dict[str, str]:
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > _LARGEST_LOGIN:
                return {}
        given = json.loads(body)
    except (ClientDisconnect, ValueError):
        return {}
    return {name: value for name, value in given.items() if isinstance(value, str)} if isinstance(given, dict) else {}
