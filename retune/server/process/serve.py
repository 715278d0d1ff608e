"""Runs the server until it is stopped."""

import logging
import os
import socket
import threading
from collections.abc import Callable

from retune.errors import ServerError
from retune.processes.shared import stop_when_unused
from retune.server.app import build_app, open_services
from retune.server.keys import read_keys
from retune.server.process.http_server import base_url, listen, raise_open_files_limit, run_http_server, stop_signals
from retune.server.process.workers import WorkerPool
from retune.server.services import Services
from retune.server.settings import API_KEY_VARIABLE, ServerSettings
from retune.server.storage.data_directory import Announcement, DataDirectory, not_writable
from retune.server.webhooks.receivers import require_secret_for_receivers

_log = logging.getLogger(__name__)


def serve(settings: ServerSettings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C (or the parent's exit, with `exit_with_parent`), then stop gracefully.

    A job that is running then is resumed by the next server on the same data directory.

    Args:
        settings: What the operator chose.
        on_ready: Called with the API's base URL once the server answers.

    Raises:
        ServerError: The address is taken or can't be had, an API key or the webhooks' secret is missing, or the data
            directory can't be used.
    """
    _refuse_unprotected(settings)
    require_secret_for_receivers(settings)
    raise_open_files_limit()
    listener = listen(settings)
    try:
        services = open_services(settings)
    except BaseException:
        listener.close()
        raise
    try:
        _require_key(settings, services)
        _run(services, listener, on_ready)
    except OSError as error:
        raise not_writable(services.directory.path, error) from error
    finally:
        services.directory.remove_announcement()
        services.close()
        listener.close()


def _run(services: Services, listener: socket.socket, on_ready: Callable[[str], None] | None) -> None:
    def announce() -> None:
        address = base_url(services.settings, listener)
        services.directory.announce(Announcement(os.getpid(), address, services.version, services.instance))
        _log.info("Retune's fine-tuning server answers at %s, with its data in %s", address, services.directory.path)
        if on_ready:
            on_ready(address)

    if services.settings.exit_with_parent:
        stop_when_unused(services.directory.users_lock)
    if services.settings.workers == 1:
        run_http_server(build_app(services), listener, on_started=announce)
    else:
        _run_workers(services, listener, announce)


def _run_workers(services: Services, listener: socket.socket, announce: Callable[[], None]) -> None:
    stopping = threading.Event()
    with stop_signals(lambda *_: stopping.set()), WorkerPool(services, listener) as pool:
        services.start()
        announce()
        pool.supervise(stopping)


def _refuse_unprotected(settings: ServerSettings) -> None:
    """Refuse before anything is created, if there can't be a key yet."""
    has_database = settings.database_url is not None or DataDirectory(settings.data_directory).database.exists()
    if settings.api_key is None and not settings.is_loopback() and not has_database:
        raise _key_needed(settings)


def _require_key(settings: ServerSettings, services: Services) -> None:
    if settings.api_key is not None or settings.is_loopback():
        return
    with services.database.read() as session:
        if not read_keys(session).digests:
            raise _key_needed(settings)


def _key_needed(settings: ServerSettings) -> ServerError:
    return ServerError(
        f"A server on {settings.host} can be reached from other machines and needs an API key; none is set.",
        hint=f"Make one with `retune server keys create NAME`, or set {API_KEY_VARIABLE} (or give --api-key, which "
        "other users of this machine can see in the list of processes), or listen on 127.0.0.1.",
    )
