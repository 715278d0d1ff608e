"""How many files and connections a process may have open at once, and how they are shared out."""

import resource
from contextlib import suppress
from typing import Final

# The database's connections have up to three files each; the rest is for logs, libraries and pipes.
_OWN_FILES: Final = 250
_MAX_CONNECTIONS: Final = 10_000
_MIN_CONNECTIONS: Final = 16
# What is asked for where the system names no bound.
_PLENTY: Final = 65_536


def raise_limit() -> None:
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
