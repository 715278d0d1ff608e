"""The overview: all models, how good they are, what failed, what comes next, what it cost."""

from prefect import flow

from tasks.publish_overview import publish_overview


@flow(name="overview")
async def overview() -> int:
    """Publish the artifact `overview`.

    Returns:
        How many complete runs it shows.
    """
    return await publish_overview()
