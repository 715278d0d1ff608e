"""What is installed only with an extra of the package: Prefect and what belongs to it, and the server.

`pip install retune` checks data, talks to providers and reads results. A command that needs more calls `require` first,
so that the user reads which extra to install instead of a traceback of an import.
"""

from importlib.util import find_spec
from typing import Final, Literal

from retune.errors import MissingExtraError

Extra = Literal["pipeline", "server"]

MODULES: Final[dict[Extra, tuple[str, ...]]] = {
    "pipeline": ("anyio", "apprise", "fastapi", "httpx", "prefect", "uvicorn"),
    "server": (
        "alembic",
        "anyio",
        "fastapi",
        "httptools",
        "httpx",
        "jsonschema",
        "prometheus_client",
        "python_multipart",
        "standardwebhooks",
        "uvicorn",
    ),
}
"""The modules that an extra installs; pyproject.toml has the distributions."""


def require(what: str, *extras: Extra) -> None:
    """Do nothing if the extras are installed.

    Args:
        what: What needs them, as the start of a sentence: "`retune run`".
        extras: Their names.

    Raises:
        MissingExtraError: A module of one of them is missing; the message has the command that installs it.
    """
    missing = [extra for extra in extras if not all(map(_is_installed, MODULES[extra]))]
    if missing:
        names = f"extra {missing[0]}, which is" if len(missing) == 1 else f"extras {' and '.join(missing)}, which are"
        raise MissingExtraError(
            f"{what} needs the {names} not installed: pip install 'retune[{','.join(missing)}]'", extras=[*missing]
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
