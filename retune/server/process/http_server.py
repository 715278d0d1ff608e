"""The HTTP server of one process: its socket, how many connections it takes, and uvicorn, stopped by a signal."""

import asyncio
import errno
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from retune.errors import ServerError
from retune.server.process.http_protocol import BoundedHttpProtocol
from retune.server.settings import ServerSettings

# The database's connections have up to three files each; the rest is for logs, libraries and pipes.
_OWN_FILES: Final = 250
_MAX_CONNECTIONS: Final = 10_000
_MIN_CONNECTIONS: Final = 16
# What is asked for where the system names no bound.
_PLENTY: Final = 65_536
BACKLOG = 512
# Longer than clients keep an idle connection: one that the server closes just as a request comes is an error there.
_KEEP_ALIVE_SECONDS = 75
LAST_ANSWERS_SECONDS = 5
_ACCEPTED_AT_ONCE = 16


def raise_open_files_limit() -> None:
    """Have as many files open as the system lets this process; the processes that it starts may too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _PLENTY if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems have a lower bound than they name; then it stays as it is.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_connections() -> int:
    """Connections that this process may take.

    For each one a file is left that it sends or receives, and a connection that is refused.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _PLENTY if soft == resource.RLIM_INFINITY else soft
    return min(max((files - _OWN_FILES) // 3, _MIN_CONNECTIONS), _MAX_CONNECTIONS)


def listen(settings: ServerSettings) -> socket.socket:
    """Begin to listen.

    Raises:
        ServerError: The address is taken or can't be had.
    """
    where = f"{settings.host}, port {settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ServerError(f"Can't listen on {where}: {error.strerror}.", hint="Check --host.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_bind(where, error) from error
    return listener


def base_url(settings: ServerSettings, listener: socket.socket) -> str:
    """Address of the API, with `/v1`, for clients on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # compared, not bound
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def _cannot_bind(where: str, error: OSError) -> ServerError:
    if error.errno == errno.EADDRINUSE:
        return ServerError(
            f"Can't listen on {where}: another program does already.",
            hint="Name another port with --port; 0 takes any free one.",
        )
    hint = "Ports under 1024 need special rights: name another with --port." if error.errno == errno.EACCES else None
    return ServerError(f"Can't listen on {where}: {error.strerror}.", hint=hint or "Check --host and --port.")


def run_http_server(
    app: ASGIApp, listener: socket.socket, *, on_started: Callable[[], None], shares_listener: bool = False
) -> None:
    """Answer requests until SIGTERM or Ctrl-C; requests that run then have LAST_ANSWERS_SECONDS to end.

    Args:
        app: What answers.
        listener: Listens already.
        on_started: Called once requests are answered.
        shares_listener: Other processes take connections from the same socket.

    Raises:
        OSError: The socket can't be used, or `on_started` raised it.
    """
    asyncio.run(_Server(app, on_started=on_started, shares_listener=shares_listener).serve(sockets=[listener]))


@contextmanager
def stop_signals(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Have SIGINT and SIGTERM handled while the block runs; outside the main thread nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class _Server(uvicorn.Server):
    def __init__(self, app: ASGIApp, *, on_started: Callable[[], None], shares_listener: bool) -> None:
        # uvicorn accepts this many waiting connections at once before it handles any of them: enough that
        # their number stays bounded. Where others wait for some too, it takes one.
        super().__init__(_config(app, backlog=1 if shares_listener else _ACCEPTED_AT_ONCE))
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)  # uvicorn has made the queue as short as its own helping.
        self._on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again at the end, which would end the process before it has cleaned up.
        with stop_signals(self.handle_exit):  # type: ignore[arg-type]  # its frame is never used
            yield


def _config(app: ASGIApp, *, backlog: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        backlog=backlog,
        loop="asyncio",
        # h11, the other choice, copies each byte of an upload four times: 200 MB took half as long again.
        http=BoundedHttpProtocol,
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        limit_concurrency=max_connections(),
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=LAST_ANSWERS_SECONDS,
    )
