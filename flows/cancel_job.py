"""The reaper: cancels the job of a flow run whose worker is gone, or whose state was set to Cancelled by hand."""

from uuid import UUID

from prefect import flow

from tasks.runtime.cancelling import cancel_job_of


@flow(name="cancel-job", flow_run_name="cancel the job of {flow_run_id}", retries=5, retry_delay_seconds=60)
async def cancel_job(flow_run_id: UUID) -> None:
    """Cancel the fine-tuning job of a flow run that is over.

    An automation starts this for every cancelled run; where the run's own worker was quicker, there is nothing to do.
    That run's log says what was done.

    Args:
        flow_run_id: The flow run that was cancelled.
    """
    await cancel_job_of(flow_run_id)
