"""The provider's client, with the API key from where the configuration says that it is."""

import logging
from typing import Any, cast

import httpx
from openai import AsyncOpenAI
from prefect import get_run_logger
from prefect.blocks.system import Secret
from prefect.exceptions import MissingContextError

from retune.config import ProviderConfig
from retune.errors import AuthenticationFailedError
from retune.provider.client import NO_KEY, build_client
from retune.provider.endpoint import require_endpoint
from retune.provider.keys import block_key, is_sent_in_clear, require_environment_address
from tasks.runtime.deployed import is_deployed

# Kept for this process alone: while Prefect's server is away the key is known all the same.
_opened: dict[str, object] = {}
_keys: set[str] = set()
_warned: set[str] = set()


async def provider_client(config: ProviderConfig) -> AsyncOpenAI:
    """Build the client with the key of the Secret block that `api_key_block` names, else with OPENAI_API_KEY.

    A run of a deployment reaches no address but those that the worker's environment or a Secret block names: its
    parameters may be anybody's.

    Raises:
        ConfigError: No address is given, or it is not a URL.
        AuthenticationFailedError: There is no such block, there is no key at all, or it is for another address.
    """
    base_url = require_endpoint(config).base_url
    if config.api_key_block:
        key = block_key(await _value_of(config.api_key_block), config.api_key_block, base_url)
        _keys.add(key)
        client = build_client(config, key)
    else:
        if is_deployed():
            require_environment_address(base_url)
        client = build_client(config)
    if client.api_key != NO_KEY and base_url not in _warned and is_sent_in_clear(base_url):
        _warned.add(base_url)
        _warn(f"The API key goes to {base_url} over plain HTTP, and can be read on the way; use https:// there.")
    return client


def without_keys(text: str) -> str:
    """Text without the keys that this process took from Secret blocks."""
    for key in _keys:
        text = text.replace(key, "[the API key]")
    return text


async def _value_of(block: str) -> object:
    try:
        secret = cast("Secret[Any]", await Secret.aload(block))
        # Not get(), which would read a key that looks like JSON as JSON.
        _opened[block] = secret.value.get_secret_value()
    except httpx.HTTPError:
        if block not in _opened:
            raise
    except ValueError:
        raise AuthenticationFailedError(
            f"provider.api_key_block names the Secret block {block!r}, but Prefect has no Secret block of that name.",
            hint="Create it in the Prefect UI (Blocks, Secret), or leave the setting empty and set OPENAI_API_KEY "
            "where the worker runs.",
        ) from None
    return _opened[block]


def _warn(text: str) -> None:
    try:
        get_run_logger().warning(text, extra={"user_facing": True})
    except MissingContextError:
        # Called from a hook, outside of any run.
        logging.getLogger(__name__).warning(text)
