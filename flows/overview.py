"""The overview."""

from prefect import flow


@flow(name="overview")
async def overview() -> None:
    """Nothing yet."""
