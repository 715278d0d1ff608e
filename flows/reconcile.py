"""What Prefect says of runs is held against what is heard of them."""

from prefect import flow

from tasks.take_up_lost_runs import take_up_lost_runs


@flow(name="reconcile")
async def reconcile() -> list[str]:
    """Have retrain runs started again whose process is gone, where nothing else did.

    Returns:
        Their names.
    """
    return await take_up_lost_runs()
