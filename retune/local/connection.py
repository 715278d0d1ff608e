"""The provider that a command uses: the one that is named, else the server on this machine, which is started."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from retune.extras import require
from retune.private_files import home_directory

if TYPE_CHECKING:
    from retune.config import ProviderConfig


def server_directory(data_directory: Path | None) -> Path:
    """Data directory of the server on this machine."""
    return data_directory or home_directory() / "server"


@contextmanager
def provider_connection(base_url: str | None, data_directory: Path | None = None) -> "Iterator[ProviderConfig]":
    """Yield the settings of a provider that answers, with its key in the environment.

    Raises:
        ConfigError: The address is not a URL.
        ServerError: The server on this machine can't start.
    """
    from retune.config import ProviderConfig  # noqa: PLC0415 - pydantic takes a while to import
    from retune.local.embedded_server import embedded_server  # noqa: PLC0415 - likewise
    from retune.provider.endpoint import resolve_endpoint  # noqa: PLC0415 - likewise

    config = ProviderConfig(base_url=base_url)
    if endpoint := resolve_endpoint(config):
        with key_is_for(endpoint.base_url):
            yield config
        return
    require("Retune's own server, which is used if neither --base-url nor OPENAI_BASE_URL names another,", "server")
    with embedded_server(server_directory(data_directory)) as running, local_api_key(running.base_url):
        yield ProviderConfig(base_url=running.base_url, is_embedded=True)


@contextmanager
def key_is_for(base_url: str) -> Iterator[None]:
    """Let OPENAI_API_KEY go to `base_url`, which the user has named on the command line or in the configuration."""
    from retune.provider.keys import ADDRESS_VARIABLE  # noqa: PLC0415 - pydantic takes a while to import

    with _variables({ADDRESS_VARIABLE: base_url}):
        yield


@contextmanager
def local_api_key(base_url: str) -> Iterator[None]:
    """Keep the user's key for a paid provider away from the local server, which has one of its own or none."""
    from retune.provider.keys import ADDRESS_VARIABLE, KEY_VARIABLE  # noqa: PLC0415 - pydantic takes a while to import

    key = os.environ.get("RETUNE_SERVER_API_KEY") or None
    with _variables({ADDRESS_VARIABLE: base_url, KEY_VARIABLE: key}):
        yield


@contextmanager
def _variables(variables: Mapping[str, str | None]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    _set_variables(variables)
    try:
        yield
    finally:
        _set_variables(before)


def _set_variables(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
