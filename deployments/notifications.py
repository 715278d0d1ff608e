"""Notifications by Prefect's blocks."""

from prefect.client.orchestration import PrefectClient


async def register_notifications(client: PrefectClient) -> list[str]:
    """Nothing yet."""
    return []
