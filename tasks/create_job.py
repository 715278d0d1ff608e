"""Start the fine-tuning job, or find the one that an earlier attempt started."""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from retune.config import ProviderConfig, TrainingConfig
from retune.provider.endpoint import require_endpoint
from retune.provider.jobs import create_job_once
from retune.run import Run
from tasks.events import JobNotice, emit_job_event
from tasks.flow_run import API_KEY_BLOCK, BASE_URL, JOB_ID, RUN_KEY, TRAINING_FILE, label_flow_run
from tasks.policies import PERSISTED, retried
from tasks.provider_client import provider_client
from tasks.values import Job, Upload


# Not cached: the provider's own list is what a second paid job is held against, also from another machine.
@task(**retried(10, 30, 60, 120), cache_policy=NO_CACHE, **PERSISTED)
async def create_job(
    run: Run, training_file: Upload, validation_file: Upload | None, training: TrainingConfig, provider: ProviderConfig
) -> Job:
    """Create the job with the run key in its metadata, unless one with that key is there.

    Before that, the flow run is labelled with what its job can be found by, whenever the process should end.

    A retry comes late on purpose: a request that timed out may still make its job, and must be found by then.

    Raises:
        ProviderError: The provider refuses the job.
        TrainingNotAvailableError: It takes no jobs from this account.
    """
    base_url = require_endpoint(provider).base_url
    labels = {RUN_KEY: run.key, BASE_URL: base_url, TRAINING_FILE: training_file.file.file_id}
    await label_flow_run({**labels, API_KEY_BLOCK: provider.api_key_block, JOB_ID: ""})
    async with await provider_client(provider) as client:
        started = await create_job_once(
            client,
            training,
            run_key=run.key,
            training_file=training_file.file.file_id,
            validation_file=validation_file.file.file_id if validation_file else None,
        )
    notice = JobNotice(job_id=started.job_id, model=training.model, provider_url=base_url, run_key=run.key)
    emit_job_event("created", notice, run=run)
    for duplicate in started.duplicates_cancelled:
        get_run_logger().warning("Cancelled %s: %s is the job of the same run.", duplicate, started.job_id)
    return Job(started=started, model=training.model)
