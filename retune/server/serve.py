"""Running the server until it is told to stop."""

import asyncio
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from retune.errors import ServerError
from retune.server.app import create_app
from retune.server.services import Services
from retune.server.settings import API_KEY_VARIABLE, ServerSettings
from retune.server.storage.data_directory import Announcement, not_writable
from retune.shared_process import stop_when_unused

_log = logging.getLogger(__name__)
_BACKLOG = 512
# Longer than clients keep an idle connection: one that the server closes just as a request comes is an error there.
_KEEP_ALIVE_SECONDS = 75
_LAST_ANSWERS_SECONDS = 5


def serve(settings: ServerSettings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C (or the parent's end, with `exit_with_parent`), then stop gracefully.

    A job that runs then stays to be taken up by the next server on the same data directory.

    Args:
        settings: What the operator chose.
        on_ready: Called with the API's base URL once the server answers.

    Raises:
        ServerError: The address is taken or can't be had, an API key is missing, or the data directory can't be used.
    """
    _require_key(settings)
    listener = _listen(settings)
    try:
        app = create_app(settings)
    except BaseException:
        listener.close()
        raise
    services: Services = app.state.services
    base_url = _base_url(settings, listener)

    def announce() -> None:
        announcement = Announcement(os.getpid(), base_url, services.version, services.instance)
        services.directory.announce(announcement)
        _log.info("Retune's fine-tuning server answers at %s, with its data in %s", base_url, services.directory.path)
        if on_ready:
            on_ready(base_url)

    server = _Server(_config(app), on_started=announce)
    if settings.exit_with_parent:
        stop_when_unused(services.directory.path / "users.lock")
    try:
        asyncio.run(server.serve(sockets=[listener]))
    except OSError as error:
        raise not_writable(services.directory.path, error) from error
    finally:
        services.directory.withdraw_announcement()
        services.close()
        listener.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again at the end, which would end the process before it has cleaned up.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _config(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # uvicorn's own idea of an ASGI application is narrower than FastAPI's
        loop="asyncio",
        http="h11",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
    )


def _require_key(settings: ServerSettings) -> None:
    if settings.api_key is None and not settings.is_loopback():
        raise ServerError(
            f"A server on {settings.host} can be reached from other machines and needs an API key; none is set.",
            hint=f"Set {API_KEY_VARIABLE} (or give --api-key, which other users of this machine can see in the list "
            "of processes), or listen on 127.0.0.1.",
        )


def _listen(settings: ServerSettings) -> socket.socket:
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
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_bind(where, error) from error
    return listener


def _cannot_bind(where: str, error: OSError) -> ServerError:
    if error.errno == errno.EADDRINUSE:
        return ServerError(
            f"Can't listen on {where}: another program does already.",
            hint="Name another port with --port; 0 takes any free one.",
        )
    hint = "Ports under 1024 need special rights: name another with --port." if error.errno == errno.EACCES else None
    return ServerError(f"Can't listen on {where}: {error.strerror}.", hint=hint or "Check --host and --port.")


def _base_url(settings: ServerSettings, listener: socket.socket) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # compared, not bound
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"
