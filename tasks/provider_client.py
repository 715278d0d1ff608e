"""The provider's client, with the API key from where the configuration says that it is."""

from typing import Any, cast

import httpx
from openai import AsyncOpenAI
from prefect.blocks.system import Secret

from retune.config import ProviderConfig
from retune.errors import AuthenticationFailedError
from retune.provider.client import build_client

# Kept for this process alone: while Prefect's server is away the key is known all the same.
_opened: dict[str, str] = {}


async def provider_client(config: ProviderConfig) -> AsyncOpenAI:
    """Build the client with the key of the Secret block that `api_key_block` names, else with OPENAI_API_KEY.

    Raises:
        ConfigError: No address is named, or it is no URL.
        AuthenticationFailedError: There is no such block, it holds no key, or there is no key at all.
    """
    return build_client(config, await _key_in(config.api_key_block) if config.api_key_block else None)


def without_keys(text: str) -> str:
    """Text without the keys that this process took from Secret blocks."""
    for key in _opened.values():
        text = text.replace(key, "[the API key]")
    return text


async def _key_in(block: str) -> str:
    try:
        secret = cast("Secret[Any]", await Secret.aload(block))
        # Not get(), which would read a key that looks like JSON as JSON.
        key = secret.value.get_secret_value()
    except httpx.HTTPError:
        if block in _opened:
            return _opened[block]
        raise
    except ValueError:
        raise AuthenticationFailedError(
            f"provider.api_key_block names the Secret block {block!r}, but Prefect has no Secret block of that name.",
            hint="Create it in the Prefect UI (Blocks, Secret), or leave the setting empty and set OPENAI_API_KEY "
            "where the worker runs.",
        ) from None
    if not isinstance(key, str) or not key.strip():
        raise AuthenticationFailedError(
            f"The Secret block {block!r}, which provider.api_key_block names, holds no text.",
            hint="Store the API key in it, as plain text.",
        )
    _opened[block] = key.strip()
    return _opened[block]
