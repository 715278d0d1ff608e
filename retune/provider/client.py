"""Building the one client that everything else uses."""

import ssl
from functools import cache

import httpx2
from openai import AsyncOpenAI, DefaultAsyncHttpx2Client

from retune.config import ProviderConfig
from retune.errors import AuthenticationFailedError
from retune.provider.endpoint import require_endpoint
from retune.provider.keys import environment_key, send_only_to

# The SDK refuses to be built without a key; a server on loopback may not want one.
NO_KEY = "no-key-needed-on-loopback"


def build_client(config: ProviderConfig, api_key: str | None = None) -> AsyncOpenAI:
    """Build the client, with its own retries off: whoever calls it owns them.

    The SDK repeats a POST by itself, and a repeated job creation is a second paid job.

    Args:
        config: Where the provider is; its `api_key_block` is for whoever can open it.
        api_key: The key, which was given for this address; None takes OPENAI_API_KEY.

    Raises:
        ConfigError: No address is given, or it is not a URL.
        AuthenticationFailedError: OPENAI_API_KEY is for another address, or it is not set and the provider is not on
            this machine.
    """
    endpoint = require_endpoint(config)
    key = api_key or environment_key(endpoint.base_url) or (NO_KEY if endpoint.is_local else None)
    if key is None:
        raise AuthenticationFailedError(
            f"{endpoint.base_url} needs an API key, and OPENAI_API_KEY is not set.",
            hint="Set OPENAI_API_KEY in the environment; a key is never taken from a flag or a file.",
        )
    return AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=key,
        max_retries=0,
        timeout=config.timeout_seconds,
        http_client=DefaultAsyncHttpx2Client(
            event_hooks={"request": [send_only_to(endpoint.base_url, key)]}, verify=_trusted_authorities()
        ),
    )


@cache
def _trusted_authorities() -> ssl.SSLContext:
    """For all clients of this process: reading the certificates takes longer than most requests."""
    return httpx2.create_ssl_context()
