"""Which provider a command talks to: the one that is named, else the local server, started for as long as it takes."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from retune.config import ProviderConfig
from retune.provider.endpoint import resolve_endpoint
from retune.run import home_directory
from retune.server.embedded import embedded_server

if TYPE_CHECKING:
    from openai import AsyncOpenAI

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
def provider_connection(base_url: str | None, data_directory: Path | None = None) -> Iterator[ProviderConfig]:
    """Yield the settings of a provider that answers.

    Raises:
        ConfigError: The address is no URL.
        ServerError: The local server can't start.
    """
    config = ProviderConfig(base_url=base_url)
    if resolve_endpoint(config) is not None:
        yield config
        return
    with embedded_server(server_directory(data_directory)) as running, local_api_key():
        yield ProviderConfig(base_url=running.base_url, is_embedded=True)


def ask(
    base_url: str | None, data_directory: Path | None, call: "Callable[[AsyncOpenAI], Awaitable[Answer]]"
) -> Answer:
    """Make one call with a client of the provider, and wait for its answer.

    Raises:
        RetuneError: See `provider_connection`, and what the call raises.
    """
    with provider_connection(base_url, data_directory) as config:
        from retune.provider.client import build_client  # noqa: PLC0415 - the SDK takes over a second to import

        async def ask_once() -> Answer:
            async with build_client(config) as client:
                return await call(client)

        return asyncio.run(ask_once())


@contextmanager
def local_api_key() -> Iterator[None]:
    """Keep the user's key for a paid provider away from the local server, which has one of its own or none."""
    before = os.environ.pop("OPENAI_API_KEY", None)
    if key := os.environ.get("RETUNE_SERVER_API_KEY"):
        os.environ["OPENAI_API_KEY"] = key
    try:
        yield
    finally:
        os.environ.pop("OPENAI_API_KEY", None)
        if before is not None:
            os.environ["OPENAI_API_KEY"] = before
