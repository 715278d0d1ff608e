"""Global concurrency limits: how many fine-tuning jobs of a model family go on at once."""

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectNotFound

from retune.config import LOCAL_MODEL
from retune.data.cost.base_models import known_families, limit_name

# Providers queue what is more; the local server trains one after the other.
_JOBS_AT_ONCE = 2
_LOCAL_JOBS_AT_ONCE = 1


async def register_limits(client: PrefectClient) -> list[str]:
    """Make the limits that are not there yet; one whose number a person changed keeps it.

    Returns:
        A line that says how many there are.
    """
    families = sorted({*known_families(), LOCAL_MODEL})
    for family in families:
        name = limit_name(family)
        try:
            await client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            limit = _LOCAL_JOBS_AT_ONCE if family == LOCAL_MODEL else _JOBS_AT_ONCE
            await client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(name=name, limit=limit, active=True, active_slots=0)
            )
    return [f"limits       {len(families)} model families, named {limit_name('<family>').replace('-family-', '')}…"]
