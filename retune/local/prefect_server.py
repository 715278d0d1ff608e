"""The Prefect server that commands use: the user's, or one of Retune's own under `.retune/prefect`.

Prefect would start a temporary one for each run, but that one has no UI, takes longer to start, and is stopped before
it has recorded the last task runs.
"""

import fcntl
import os
import threading
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from retune.errors import ServerError
from retune.local.prefect_access import PASSWORD_VARIABLE, is_server_of, new_link, prefect_password
from retune.private_files import home_directory
from retune.processes.process import module_command
from retune.processes.shared import ProcessPlan, shared_process

ADDRESS_FILE = "address"
_PATIENCE_SECONDS = 10
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared, not bound)
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}


def keep_prefect_to_itself() -> None:
    """Give Prefect a home under `.retune`, unless the user has a Prefect server. Call it before importing Prefect."""
    if not configured_api_url():
        os.environ.update(QUIET, PREFECT_HOME=str(own_home()))


@contextmanager
def prefect_server(say: Callable[[str], None] | None = None, stopping: threading.Event | None = None) -> Iterator[str]:
    """Yield the address of a Prefect API.

    The user's own server is used where PREFECT_API_URL or the active Prefect profile names one. Otherwise one is
    started, with its database under `.retune/prefect`, and ends with its last user.

    Args:
        say: See `retune.processes.shared.shared_process`.
        stopping: Likewise.

    Raises:
        ServerError: The user's own server does not answer, or a new one can't start.
    """
    if configured := configured_api_url():
        _require_answer(configured.rstrip("/"))
        yield configured.rstrip("/")
        return
    with shared_process(server_plan(own_home()), say, stopping) as server:
        yield f"{server.address}/api"


def own_password() -> str | None:
    """The password of the server that `prefect_server` starts; None where the user has one."""
    return None if configured_api_url() else prefect_password(own_home())


def address_to_watch(api_url: str) -> str:
    """What to open in a browser: on a server of Retune's a link that logs in, once.

    Raises:
        ServerError: The server gave none.
    """
    address = api_url.removesuffix("/api")
    password = own_password()
    return f"{address}/runs" if password is None else new_link(address, password)


def running_server() -> tuple[str, str]:
    """Address and password of the server under `.retune/prefect`, whoever started it.

    Raises:
        ServerError: None is running.
    """
    home = own_home()
    address = running_address()
    if address is None:
        raise ServerError(
            f"Retune's Prefect server is not running for {home.parent}.",
            hint="Start it with `retune up` or `retune prefect start`, or set RETUNE_HOME to where it runs.",
        )
    return address, prefect_password(home)


def running_address() -> str | None:
    """Where the server under `.retune/prefect` answers; None where none is running."""
    home = own_home()
    if address := _find(home):
        return address
    # That of `retune up` may have been hidden for a while by one that a run started at the same time.
    with suppress(OSError):
        address = (home.parent / "up.lock").read_text(encoding="ascii").strip()
        return address if address and is_server_of(home, address) else None
    return None


def configured_api_url() -> str | None:
    """The API that the environment or the active Prefect profile names.

    Read here and not by Prefect, because importing Prefect takes longer than starting the rest.
    """
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    settings = profiles.get("profiles", {}).get(active, {})
    url = settings.get("PREFECT_API_URL")
    return str(url) if url else None


def _require_answer(api_url: str) -> None:
    try:
        urllib.request.urlopen(f"{api_url}/health", timeout=_PATIENCE_SECONDS).close()  # noqa: S310 - Prefect's own setting
    except urllib.error.HTTPError as error:
        error.close()  # It answers; Prefect itself checks the key.
    except (OSError, ValueError) as error:
        raise ServerError(
            f"The Prefect API at {api_url} does not answer: {error}.",
            hint="PREFECT_API_URL or the active Prefect profile names it. Start it; or unset it, and `retune run` "
            "starts a Prefect server of its own.",
        ) from None


def own_home() -> Path:
    """The home of Retune's own Prefect server."""
    return (home_directory() / "prefect").absolute()


def _find(home: Path) -> str | None:
    address = read_address(home)
    return address if address and is_server_of(home, address) else None


def server_plan(home: Path) -> ProcessPlan:
    """How to find the server of a home, and to start one that ends with the last command that uses it."""
    command = module_command("retune.local.prefect_serving", "--home", str(home), "--until-unused")
    return ProcessPlan(
        name="The Prefect server",
        directory=home,
        log=home / "output.log",
        find=lambda: _find(home),
        command=command,
        command_again=lambda address: [*command, "--port", str(urlsplit(address).port)],
        is_kept_elsewhere=lambda: _is_up(home.parent),
        # It has a port of its own: PREFECT_UI_URL is the address of another server.
        environment={
            **QUIET,
            PASSWORD_VARIABLE: prefect_password(home),
            "PREFECT_UI_URL": None,
            # It has no use for them.
            "PREFECT_API_AUTH_STRING": None,
            "OPENAI_API_KEY": None,
        },
    )


def _is_up(directory: Path) -> bool:
    """Whether `retune up` runs there, which restarts its own server."""
    try:
        with (directory / "up.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def local_address(host: str, port: int) -> str:
    """Where a server answers, as seen from this machine."""
    host = ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def read_address(home: Path) -> str | None:
    """The address that the server of a home has written to its file; the server may have ended since."""
    try:
        return (home / ADDRESS_FILE).read_text(encoding="ascii")
    except OSError:
        return None
