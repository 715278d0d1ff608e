"""Start the fine-tuning job, or find the one that an earlier attempt started."""

from prefect import get_run_logger, task

from retune.config import ProviderConfig, TrainingConfig
from retune.provider.client import build_client
from retune.provider.jobs import create_job_once
from retune.run import Run
from tasks.policies import PERSISTED, retried
from tasks.values import Job, Upload


# Not cached: the provider's own list is what a second paid job is held against, also from another machine.
@task(**retried(10, 30, 60, 120), **PERSISTED)
async def create_job(
    run: Run, training_file: Upload, validation_file: Upload | None, training: TrainingConfig, provider: ProviderConfig
) -> Job:
    """Create the job with the run key in its metadata, unless one with that key is there.

    A retry comes late on purpose: a request that timed out may still make its job, and must be found by then.

    Raises:
        ProviderError: The provider refuses the job.
        TrainingNotAvailableError: It takes no jobs from this account.
    """
    async with build_client(provider) as client:
        started = await create_job_once(
            client,
            training,
            run_key=run.key,
            training_file=training_file.file.file_id,
            validation_file=validation_file.file.file_id if validation_file else None,
        )
    for duplicate in started.duplicates_cancelled:
        get_run_logger().warning("Cancelled %s: %s is the job of the same run.", duplicate, started.job_id)
    return Job(started=started, model=training.model)
