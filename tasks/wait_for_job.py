"""Wait until the job has ended, and say what happens meanwhile."""

import asyncio
import logging

from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from prefect import get_run_logger
from prefect.runtime import flow_run

from retune.config import ProviderConfig, TrainingConfig
from retune.data.text.jsonl import write_jsonl
from retune.errors import JobCancelledError, JobError, JobFailedError
from retune.files import write_json
from retune.private_files import make_private_directory, private_opener
from retune.provider.endpoint import require_endpoint
from retune.provider.errors import one_line
from retune.provider.follow import event_as_dict, follow_job, pauses_at, raise_unless_succeeded, running_seconds
from retune.provider.job_journal import JobJournal
from retune.provider.one_job import unclear_wait_seconds
from retune.provider.twins import TwinWatch
from retune.results.training_cost import training_cost
from retune.run import JOB_FILE, Run
from tasks.create_job import warn_people
from tasks.runtime.cancelling import run_until_cancelled
from tasks.runtime.events import JobNews, JobNotice, emit_job_event
from tasks.runtime.flow_run import API_KEY_BLOCK, BASE_URL, JOB_ID, JOB_IS_OURS, RUN_KEY, label_flow_run
from tasks.runtime.progress import ProgressReport
from tasks.runtime.provider_client import provider_client
from tasks.runtime.steps import PERSISTED, by_content, step
from tasks.runtime.values import FinishedJob

_FIGURES = {"train_loss", "train_mean_token_accuracy", "valid_loss", "full_valid_loss"}


@step("train", cache_policy=by_content(exclude=("provider", "training")), **PERSISTED)
async def wait_for_job(run: Run, job_id: str, training: TrainingConfig, provider: ProviderConfig) -> FinishedJob:
    """Follow the job to its end: every event once, in order, in the log; steps as a progress artifact.

    A provider that can't be reached is asked again until `max_wait_hours` are over; else only a final answer ends the
    waiting, or that the flow run is cancelled: then its job is cancelled, too. Where another job of the same run shows
    up that was there first, the wait continues with that one.

    Raises:
        CancelledRun: The flow run was cancelled.
        JobFailedError: The job failed; with the provider's code, message and param.
        JobCancelledError: Somebody cancelled it.
        JobVanishedError: The provider does not know the job any more.
        JobWaitTimeoutError: The job has not ended in time; it was left alone.
        ProviderError: The provider refuses the key.
    """
    job, events = await run_until_cancelled(_follow(run, job_id, training, provider))
    await asyncio.to_thread(write_jsonl, run.path("events.jsonl"), map(event_as_dict, events))
    notice = _notice(run, job, events, provider)
    try:
        raise_unless_succeeded(job)
    except JobError as error:
        news: JobNews = "cancelled" if isinstance(error, JobCancelledError) else "failed"
        emit_job_event(news, notice.model_copy(update={"error": one_line(error)}), run=run)
        raise
    emit_job_event("succeeded", notice, run=run)
    return _finished(run, job, events)


async def _follow(
    run: Run, job_id: str, training: TrainingConfig, provider: ProviderConfig
) -> tuple[FineTuningJob, list[FineTuningJobEvent]]:
    """Follow the job, or the one that turns out to be the run's instead; the job at its end, and its events."""
    logged = _LoggedEvents(run)
    journal = JobJournal(run.directory, run.key)
    events: list[FineTuningJobEvent] = []
    last: FineTuningJob | None = None
    key = f"training-{run.key[:12]}"
    await _label(run, job_id, journal, provider)
    async with (
        await provider_client(provider) as client,
        ProgressReport(key=key, step="train", description=f"Steps of {job_id}") as progress,
    ):
        updates = follow_job(
            client,
            job_id,
            pauses_at(str(client.base_url), training),
            max_wait_seconds=training.max_wait_hours * 3600,
            twins=TwinWatch(client, journal, unclear_wait_seconds(training, provider), say=warn_people),
            on_trouble=_tell_trouble,
        )
        async for update in updates:
            if update.job.id != (last.id if last else job_id):
                get_run_logger().warning("%s is the job of this run from here on.", update.job.id)
                await _label(run, update.job.id, journal, provider)
                events = []
            if update.state == "unknown" and (last is None or last.status != update.job.status):
                _tell_unknown_status(update.job, training)
            last = update.job
            events += update.events
            for event in update.events:
                logged.log(event)
                _advance(progress, event)
            await asyncio.to_thread(write_json, run.path(JOB_FILE), last.model_dump(mode="json"))
    assert last is not None  # noqa: S101 - following ends with a look at the job
    return last, events


async def _label(run: Run, job_id: str, journal: JobJournal, provider: ProviderConfig) -> None:
    base_url = require_endpoint(provider).base_url
    labels = {RUN_KEY: run.key, BASE_URL: base_url, API_KEY_BLOCK: provider.api_key_block, JOB_ID: job_id}
    await label_flow_run({**labels, JOB_IS_OURS: "yes" if journal.is_ours(job_id) else "no"})


def _tell_unknown_status(job: FineTuningJob, training: TrainingConfig) -> None:
    warn_people(
        f"The provider shows the status {job.status!r} of {job.id}, which Retune does not know. "
        f"Waiting on, for {training.max_wait_hours:g} hours at most."
    )


def _notice(run: Run, job: FineTuningJob, events: list[FineTuningJobEvent], provider: ProviderConfig) -> JobNotice:
    return JobNotice(
        job_id=job.id,
        model=job.model,
        provider_url=require_endpoint(provider).base_url,
        run_key=run.key,
        fine_tuned_model=job.fine_tuned_model,
        trained_tokens=job.trained_tokens,
        seconds=running_seconds(job, events),
        cost_usd=training_cost(provider, job.model, trained_tokens=job.trained_tokens, estimate_usd=None)[0],
    )


class _LoggedEvents:
    """Logs each event once in a flow run, also when that run was interrupted and resumed."""

    def __init__(self, run: Run) -> None:
        self._logger = get_run_logger()
        self._path = run.path(".logged_events", str(flow_run.get_id()))
        make_private_directory(self._path.parent)
        self._ids = set(self._path.read_text(encoding="utf-8").split()) if self._path.exists() else set()

    def log(self, event: FineTuningJobEvent) -> None:
        if event.id in self._ids:
            return
        level = {"warn": logging.WARNING, "error": logging.ERROR}.get(event.level, logging.INFO)
        self._logger.log(level, event.message)
        self._ids.add(event.id)
        with open(self._path, "a", encoding="utf-8", opener=private_opener) as stream:
            stream.write(f"{event.id}\n")


def _tell_trouble(error: Exception, pause_seconds: float) -> None:
    get_run_logger().warning(
        "Can't see the job for the moment (%s); it continues all the same. Looking again in %.0f s.",
        one_line(error),
        pause_seconds,
        extra={"user_facing": True},
    )


def _advance(progress: ProgressReport, event: FineTuningJobEvent) -> None:
    data = event.data if isinstance(event.data, dict) else {}
    step, total = data.get("step"), data.get("total_steps")
    if isinstance(step, int) and isinstance(total, int):
        figures = {name: value for name, value in data.items() if name in _FIGURES and isinstance(value, int | float)}
        progress.advance(step, total, **figures)


def _finished(run: Run, job: FineTuningJob, events: list[FineTuningJobEvent]) -> FinishedJob:
    numbers = job.hyperparameters
    if not job.fine_tuned_model:
        raise JobFailedError(
            f"The fine-tuning job {job.id} succeeded, but the provider names no fine-tuned model.",
            job_id=job.id,
            hint="Look at it with `retune jobs show`; running again looks at it again.",
        )
    return FinishedJob(
        run=run,
        job_id=job.id,
        model=job.model,
        fine_tuned_model=job.fine_tuned_model,
        result_files=job.result_files,
        trained_tokens=job.trained_tokens,
        n_epochs=numbers.n_epochs if numbers else None,
        batch_size=numbers.batch_size if numbers else None,
        learning_rate_multiplier=numbers.learning_rate_multiplier if numbers else None,
        seed=job.seed,
        running_seconds=running_seconds(job, events),
        events=run.path("events.jsonl"),
        n_events=len(events),
    )
