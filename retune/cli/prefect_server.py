"""A Prefect server for one run, where the user has none.

Prefect would start a temporary one by itself, but that one shows no UI while the run goes on, takes longer to come up,
and is stopped before it has written down the last task runs.
"""

import os
import socket
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from retune.errors import ServerError
from retune.run import home_directory
from retune.shared_process import ProcessPlan, answers, shared_process, stop_when_unused

_ADDRESS_FILE = "address"
_PATIENCE_SECONDS = 10
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}


def keep_prefect_to_itself() -> None:
    """Give Prefect a home under `.retune`, unless the user has a Prefect server. Call it before importing Prefect."""
    if not configured_api_url():
        os.environ.update(QUIET, PREFECT_HOME=str(_home()))


@contextmanager
def prefect_server(say: Callable[[str], None] | None = None) -> Iterator[str]:
    """Yield the address of a Prefect API.

    The user's own server is used where PREFECT_API_URL or the active Prefect profile names one. Otherwise one is
    started, with its database under `.retune/prefect`, and ends with its last user.

    Args:
        say: See `retune.shared_process.shared_process`.

    Raises:
        ServerError: The user's own server does not answer, or a new one can't start.
    """
    if configured := configured_api_url():
        _require_answer(configured.rstrip("/"))
        yield configured.rstrip("/")
        return
    with shared_process(_plan(_home()), say) as server:
        yield f"{server.address}/api"


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
        error.close()  # Somebody answers; whether the key is right Prefect will say.
    except (OSError, ValueError) as error:
        raise ServerError(
            f"The Prefect API at {api_url} does not answer: {error}.",
            hint="PREFECT_API_URL or the active Prefect profile names it: start it, or unset it, "
            "and `retune run` starts a Prefect server of its own.",
        ) from None


def _home() -> Path:
    return (home_directory() / "prefect").absolute()


def _plan(home: Path) -> ProcessPlan:
    def find() -> str | None:
        try:
            address = (home / _ADDRESS_FILE).read_text(encoding="ascii")
        except OSError:
            return None
        return address if answers(f"{address}/api/health") else None

    command = [sys.executable, "-P", "-m", "retune.cli.prefect_server", str(home)]
    return ProcessPlan(
        name="The Prefect server",
        directory=home,
        log=home / "output.log",
        find=find,
        command=command,
        command_again=lambda address: [*command, str(urlsplit(address).port)],
        environment={**QUIET, "PREFECT_HOME": str(home)},
    )


def _serve(home: Path, port: int = 0) -> None:
    import uvicorn  # noqa: PLC0415 - only the server's own process needs it

    stop_when_unused(_plan(home).users_lock)
    with socket.socket() as probe:
        # Connections of an earlier server at the same port may linger.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    # The UI asks the API at the address it came from; without this it would ask port 4200.
    os.environ.update(PREFECT_SERVER_API_PORT=str(port), PREFECT_SERVER_UI_API_URL="/api")
    (home / _ADDRESS_FILE).write_text(f"http://127.0.0.1:{port}", encoding="ascii")
    try:
        uvicorn.run(
            "prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=port, log_level="warning"
        )
    finally:
        (home / _ADDRESS_FILE).unlink(missing_ok=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), *map(int, sys.argv[2:]))
