"""Stop a run that would cost more than its owner allows, or have it approved, before anything is uploaded."""

from prefect import get_run_logger, task

from retune.config import ProviderConfig, TrainingConfig
from retune.data.cost import needs_approval, refuse_if_too_expensive
from retune.errors import OverBudgetError
from retune.provider.files import find_file
from retune.provider.job_journal import JobJournal
from retune.provider.one_job import job_request
from retune.provider.own_jobs import existing_job
from tasks.policies import PERSISTED, retried
from tasks.provider_client import provider_client
from tasks.upload_file import uploaded_name
from tasks.values import TrainingFiles


# Not cached: the limit may be another one, and the provider's own list says whether there is anything left to pay.
@task(**retried(2, 10, 30, 60), **PERSISTED)
async def limit_cost(files: TrainingFiles, training: TrainingConfig, provider: ProviderConfig) -> bool:
    """Refuse a new job that would cost more than `max_cost_usd`; one that exists already is paid for.

    Returns:
        Whether a new job is to be approved first, as it costs more than `approve_above_usd`.

    Raises:
        OverBudgetError: The training would cost more, or what it costs can't be said.
        ProviderError: The provider refuses to say which jobs there are.
    """
    asks = needs_approval(files.cost, training.approve_above_usd)
    refusal: OverBudgetError | None = None
    try:
        refuse_if_too_expensive(files.cost, training.max_cost_usd)
    except OverBudgetError as error:
        refusal = error
    if not (refusal or asks) or training.job_id:
        return False
    if job := await _existing_job(files, training, provider):
        get_run_logger().info("No limit of the cost applies: %s exists already.", job)
        return False
    if refusal:
        raise refusal
    return True


async def _existing_job(files: TrainingFiles, training: TrainingConfig, provider: ProviderConfig) -> str | None:
    run = files.run
    async with await provider_client(provider) as client:
        file_id = await find_file(client, uploaded_name(run, files.train), files.train.bytes)
        request = job_request(training, run_key=run.key, training_file=file_id or "", validation_file=None)
        job = await existing_job(client, JobJournal(run.directory, run.key), request)
    return job.id if job else None
