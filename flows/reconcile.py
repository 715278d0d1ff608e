"""Compare the states of flow runs in Prefect with the heartbeats of their processes."""

from prefect import flow

from tasks.reschedule_lost_runs import reschedule_lost_runs


@flow(name="reconcile")
async def reconcile() -> list[str]:
    """Reschedule retrain runs whose process is gone, where nothing else did.

    Returns:
        Their names.
    """
    return await reschedule_lost_runs()
