"""Start the fine-tuning job, or find the one that an earlier attempt started."""

from prefect import get_run_logger
from prefect.cache_policies import NO_CACHE

from retune.config import ProviderConfig, TrainingConfig
from retune.provider.endpoint import require_endpoint
from retune.provider.job_journal import JobJournal
from retune.provider.one_job import JobCreator, job_request, unclear_wait_seconds
from retune.run import Run
from tasks.runtime.cancelling import run_until_cancelled
from tasks.runtime.events import JobNotice, emit_job_event
from tasks.runtime.flow_run import (
    API_KEY_BLOCK,
    BASE_URL,
    JOB_ID,
    RUN_DIRECTORY,
    RUN_KEY,
    TRAINING_FILE,
    label_flow_run,
)
from tasks.runtime.provider_client import provider_client
from tasks.runtime.steps import PERSISTED, retried, step
from tasks.runtime.values import Job, Upload


# Not cached: the journal and the provider's own list are what a second paid job is checked against.
@step("job", **retried(10, 30, 60, 120), cache_policy=NO_CACHE, **PERSISTED)
async def create_job(
    run: Run, training_file: Upload, validation_file: Upload | None, training: TrainingConfig, provider: ProviderConfig
) -> Job:
    """Create the job with the run key in its metadata, unless this run has one.

    Before that, the flow run is labelled with what its job can be found by, whenever the process should end. Where the
    provider's answer leaves open whether there is a job now, this searches for it for minutes.

    Raises:
        CancelledRun: The flow run was cancelled.
        UnclearJobError: Nobody can say whether there is a job already.
        JobVanishedError: The provider does not know this run's job any more.
        ProviderError: The provider refuses the job.
        TrainingNotAvailableError: It takes no jobs from this account.
    """
    base_url = require_endpoint(provider).base_url
    labels = {RUN_KEY: run.key, BASE_URL: base_url, TRAINING_FILE: training_file.file.file_id}
    labels |= {RUN_DIRECTORY: str(run.directory), API_KEY_BLOCK: provider.api_key_block, JOB_ID: ""}
    await label_flow_run(labels)
    request = job_request(
        training,
        run_key=run.key,
        training_file=training_file.file.file_id,
        validation_file=validation_file.file.file_id if validation_file else None,
    )
    async with await provider_client(provider) as client:
        creator = JobCreator(
            client,
            request,
            JobJournal(run.directory, run.key),
            unclear_wait_seconds(training, provider),
            trusts_incomplete_list=training.trust_incomplete_job_list,
            job_id=training.job_id,
            say=warn_people,
        )
        started = await run_until_cancelled(creator.create_once())
    notice = JobNotice(job_id=started.job_id, model=training.model, provider_url=base_url, run_key=run.key)
    emit_job_event("created", notice, run=run)
    for duplicate in started.duplicates_cancelled:
        get_run_logger().warning("Cancelled %s: %s is the job of the same run.", duplicate, started.job_id)
    return Job(started=started, model=training.model)


def warn_people(line: str) -> None:
    """Log a line that the terminal shows, too."""
    get_run_logger().warning(line, extra={"user_facing": True})
