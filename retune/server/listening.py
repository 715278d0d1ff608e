"""The socket that a server listens on, and the address that clients reach it at."""

import errno
import socket

from retune.errors import ServerError
from retune.server.settings import ServerSettings

BACKLOG = 512


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
