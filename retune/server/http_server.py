"""The HTTP server of one process: uvicorn, stopped gracefully by a signal."""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from retune.server.http_protocol import BoundedHttpProtocol
from retune.server.listening import BACKLOG
from retune.server.open_files import max_connections

# Longer than clients keep an idle connection: one that the server closes just as a request comes is an error there.
_KEEP_ALIVE_SECONDS = 75
LAST_ANSWERS_SECONDS = 5
_HELPING = 16


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
        OSError: The socket can't be used any more, or `on_started` raised it.
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
        # uvicorn takes as many waiting connections at once as this says, before it looks at any of them: so many that
        # their number stays bounded. Where others wait for some too, it takes one.
        super().__init__(_config(app, backlog=1 if shares_listener else _HELPING))
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)  # uvicorn has made the queue as short as its own helping.
        self._on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again at the end, which would end the process before it has cleaned up.
        with stop_signals(self.handle_exit):  # type: ignore[arg-type]  # its frame is never looked at
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
