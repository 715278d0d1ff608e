"""Which models the provider has."""

import asyncio
import itertools
import time
from datetime import date

import openai
from openai import AsyncOpenAI
from openai.types import Model

from retune.config import ProviderConfig
from retune.errors import AuthenticationFailedError, ProviderError, ProviderUnreachableError, UnexpectedAnswerError
from retune.provider.client import build_client
from retune.provider.errors import explain, is_transient, provider_call
from retune.provider.follow import PollingPauses

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


async def read_shutdown_date(client: AsyncOpenAI, model: str) -> date | None:
    """The day from which a model will not answer, by `shutdown_date` of its model object; None where there is none.

    Raises:
        ProviderError: The host has no such model, no model objects, or another value there than a date.
        openai.OpenAIError: A transient failure.
    """
    async with provider_call(f"reading when {model} ends"):
        found = await client.with_options(timeout=_PATIENCE_SECONDS).models.retrieve(model)
    # The SDK does not validate answers.
    day: object = getattr(found, "shutdown_date", None)
    if day is None:
        return None
    try:
        return date.fromisoformat(str(day))
    except ValueError:
        raise UnexpectedAnswerError(f"shutdown_date of {model} must be a date like 2027-01-14, not {day!r}.") from None


async def wait_for_model(client: AsyncOpenAI, model: str, *, patience_seconds: float) -> None:
    """Wait until the provider knows a model that it has just made.

    Returns as soon as it does, or when patience has run out, or where the host has no such endpoint: whoever asks the
    model then hears the reason.
    """
    deadline = time.monotonic() + patience_seconds
    pauses = PollingPauses(first_seconds=1.0, longest_seconds=15.0)
    for looks in itertools.count():
        try:
            await client.models.retrieve(model)
        except openai.NotFoundError as error:
            if error.code != "model_not_found" or time.monotonic() > deadline:
                return
        except openai.OpenAIError as error:
            if not is_transient(error) or time.monotonic() > deadline:
                return
        else:
            return
        await asyncio.sleep(pauses.after(looks))
