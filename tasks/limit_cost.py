"""Stop a run that would cost too much or whose base model has ended, or have it approved, before any upload."""

from datetime import date

import openai
from prefect import get_run_logger, task
from prefect.context import FlowRunContext

from retune.config import ProviderConfig, RetrainConfig, TrainingConfig
from retune.data.cost.estimate import needs_approval, refuse_if_too_expensive
from retune.data.cost.model_dates import (
    ModelDates,
    add_shutdown_date,
    days_left,
    describe_dates,
    describe_move,
    find_dates,
    refuse_if_ended,
    utc_today,
)
from retune.errors import ConfigError, ProviderError
from retune.provider.endpoint import require_endpoint
from retune.provider.errors import one_line
from retune.provider.files import find_file
from retune.provider.job_journal import JobJournal
from retune.provider.models import read_shutdown_date
from retune.provider.one_job import job_request
from retune.provider.own_jobs import existing_job
from retune.results.run_message import RunNotice
from tasks.runtime.events import emit_run_event
from tasks.runtime.hooks import flow_run_url
from tasks.runtime.provider_client import provider_client
from tasks.runtime.steps import PERSISTED, retried
from tasks.runtime.values import JobTerms, TrainingFiles
from tasks.upload_file import uploaded_name


# Not cached: the limit may be another one, days pass, and the provider's own list says whether there is anything left
# to pay.
@task(**retried(2, 10, 30, 60), **PERSISTED)
async def limit_cost(config: RetrainConfig, files: TrainingFiles, today: date | None = None) -> JobTerms:
    """Refuse a new job that costs more than `max_cost_usd`, or that the provider takes no more.

    A job that exists already is paid for, and finished. Where the base model ends within 60 days this warns, every
    time.

    Args:
        config: The run's configuration.
        files: What would be trained on, and what it costs.
        today: The day by which dates are judged; None for today, in UTC.

    Raises:
        ModelEndedError: By its dates the provider has ended the base model.
        OverBudgetError: The training would cost more, or what it costs can't be said.
        ProviderError: The provider refuses to say which jobs there are.
    """
    today = today or utc_today()
    training = config.training
    dates = await _find_dates(config, today)
    _warn_of_end(config, dates, today)
    asks = needs_approval(files.cost, training.approve_above_usd)
    refusal: ConfigError | None = None
    try:
        refuse_if_ended(dates, today=today, ignore_dates=training.ignore_dates)
        refuse_if_too_expensive(files.cost, training.max_cost_usd)
    except ConfigError as error:
        refusal = error
    if not (refusal or asks) or training.job_id:
        return JobTerms(needs_approval=False, dates=dates)
    if job := await _existing_job(files, training, config.provider):
        get_run_logger().info("No limit of the cost or the dates applies: %s exists already.", job)
        return JobTerms(needs_approval=False, dates=dates)
    if refusal:
        raise refusal
    return JobTerms(needs_approval=True, dates=dates)


async def _find_dates(config: RetrainConfig, today: date) -> ModelDates | None:
    """What is published, and above it the day that the provider itself names in its model object."""
    model, kind = config.training.model, require_endpoint(config.provider).kind
    dates = find_dates(model, kind)
    if kind == "retune":
        return dates
    try:
        async with await provider_client(config.provider) as client:
            shutdown = await read_shutdown_date(client, model)
    except (ProviderError, openai.OpenAIError) as error:
        # Many hosts have no model objects. What else is wrong with the provider stops the upload.
        get_run_logger().info("The provider does not say when %s ends: %s", model, one_line(error))
        return dates
    if shutdown is None:
        return dates
    return add_shutdown_date(dates, shutdown, model=model, provider=kind, today=today)


def _warn_of_end(config: RetrainConfig, dates: ModelDates | None, today: date) -> None:
    """Log the days, and warn by an event where one is near; automations notify people of it."""
    if dates is None:
        return
    lifetime = f"{dates.model}: {describe_dates(dates, today)}"
    if not dates.is_near(today):
        get_run_logger().info("%s", lifetime)
        return
    move = describe_move(dates, today=today)
    get_run_logger().warning("%s %s", lifetime, move, extra={"user_facing": True})
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    notice = RunNotice(
        outcome="ends-soon",
        model=config.training.model,
        data=config.data.label,
        days_left=days_left(dates, today),
        flow_run_url=flow_run_url(context.flow_run),
        error=lifetime,
        advice=move,
    )
    emit_run_event(notice, context.flow_run)


async def _existing_job(files: TrainingFiles, training: TrainingConfig, provider: ProviderConfig) -> str | None:
    run = files.run
    async with await provider_client(provider) as client:
        file_id = await find_file(client, uploaded_name(run, files.train), files.train.bytes)
        request = job_request(training, run_key=run.key, training_file=file_id or "", validation_file=None)
        job = await existing_job(client, JobJournal(run.directory, run.key), request)
    return job.id if job else None
