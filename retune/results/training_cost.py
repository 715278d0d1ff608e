"""What a training cost, by what the provider says of it."""

from retune.config import ProviderConfig
from retune.data.cost.estimate import price_of_tokens, trains_for_free
from retune.provider.endpoint import require_endpoint


def training_cost(
    provider: ProviderConfig, model: str, *, trained_tokens: int | None, estimate_usd: float | None
) -> tuple[float | None, bool]:
    """What a training cost in US dollars, None where it is free or no price is known; and whether it is estimated."""
    kind = require_endpoint(provider).kind
    if kind == "other" or trains_for_free(kind, model):
        return None, False
    # The provider's count has all epochs in it.
    cost = price_of_tokens(model, trained_tokens) if trained_tokens is not None else None
    return (cost, False) if cost is not None else (estimate_usd, estimate_usd is not None)
