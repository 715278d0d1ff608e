"""Which provider a command talks to: the one that is named, else the local server, started for as long as it takes."""

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from retune.extras import require
from retune.private_files import home_directory

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from retune.config import ProviderConfig

Answer = TypeVar("Answer")

BaseUrl = Annotated[
    str | None,
    typer.Option(
        "--base-url", help="The API's address; default: OPENAI_BASE_URL, else the local server.", metavar="URL"
    ),
]
DataDirectory = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Data directory of the local server; default: .retune/server.", metavar="DIR"),
]


def server_directory(data_directory: Path | None) -> Path:
    """Data directory of the local server."""
    return data_directory or home_directory() / "server"


@contextmanager
def provider_connection(base_url: str | None, data_directory: Path | None = None) -> "Iterator[ProviderConfig]":
    """Yield the settings of a provider that answers.

    Raises:
        ConfigError: The address is no URL.
        ServerError: The local server can't start.
    """
    from retune.config import ProviderConfig  # noqa: PLC0415 - pydantic takes a while to import
    from retune.provider.endpoint import resolve_endpoint  # noqa: PLC0415 - likewise
    from retune.server.embedded import embedded_server  # noqa: PLC0415 - likewise

    config = ProviderConfig(base_url=base_url)
    if endpoint := resolve_endpoint(config):
        with key_is_for(endpoint.base_url):
            yield config
        return
    require("Retune's own server, which is used if neither --base-url nor OPENAI_BASE_URL names another,", "server")
    with embedded_server(server_directory(data_directory)) as running, local_api_key(running.base_url):
        yield ProviderConfig(base_url=running.base_url, is_embedded=True)


def ask(
    base_url: str | None, data_directory: Path | None, call: "Callable[[AsyncOpenAI], Awaitable[Answer]]"
) -> Answer:
    """Make one call with a client of the provider, and wait for its answer.

    Raises:
        RetuneError: See `provider_connection`, and what the call raises.
    """
    with provider_connection(base_url, data_directory) as config:
        import asyncio  # noqa: PLC0415 - takes a while, too

        from retune.provider.client import build_client  # noqa: PLC0415 - the SDK takes over a second to import

        async def ask_once() -> Answer:
            async with build_client(config) as client:
                return await call(client)

        return asyncio.run(ask_once())


@contextmanager
def key_is_for(base_url: str) -> Iterator[None]:
    """Have OPENAI_API_KEY go to the address that the command line names: there it is the user's word."""
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
