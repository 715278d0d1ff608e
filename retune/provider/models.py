"""Which models the provider has."""

from openai import AsyncOpenAI
from openai.types import Model

from retune.provider.errors import provider_call


async def list_models(client: AsyncOpenAI) -> list[Model]:
    """All models, the newest first.

    Raises:
        ProviderError: The provider refuses.
        openai.OpenAIError: A transient failure.
    """
    async with provider_call("listing models"):
        found = [model async for model in client.models.list()]
    return sorted(found, key=lambda model: (-model.created, model.id))
