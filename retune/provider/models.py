"""Which models the provider has."""

import openai
from openai import AsyncOpenAI
from openai.types import Model

from retune.config import ProviderConfig
from retune.errors import AuthenticationFailedError, ProviderError, ProviderUnreachableError
from retune.provider.client import build_client
from retune.provider.errors import explain, provider_call

_PATIENCE_SECONDS = 10.0


async def list_models(client: AsyncOpenAI) -> list[Model]:
    """All models, the newest first.

    Raises:
        ProviderError: The provider refuses.
        openai.OpenAIError: A transient failure.
    """
    async with provider_call("listing models"):
        found = [model async for model in client.models.list()]
    return sorted(found, key=lambda model: (-model.created, model.id))


async def check_provider(config: ProviderConfig) -> None:
    """Find out within ten seconds whether anybody answers, and takes the key. A host without a list of models is fine.

    Raises:
        ProviderUnreachableError: Nobody answers.
        AuthenticationFailedError: The key is missing or refused.
    """
    async with build_client(config) as client:
        try:
            async with provider_call("looking whether it answers"):
                await client.with_options(timeout=_PATIENCE_SECONDS).models.list()
        except (AuthenticationFailedError, ProviderUnreachableError):
            raise
        except openai.APIConnectionError as error:
            raise explain(error, "looking whether it answers") from error
        except (ProviderError, openai.OpenAIError):
            return
