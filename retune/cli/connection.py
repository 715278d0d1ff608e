"""The flags that name a provider, and one call to it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from retune.local.connection import provider_connection

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
