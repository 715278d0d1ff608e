"""The pipeline: a table in; a fine-tuned, evaluated model and a report out."""

from functools import partial

from prefect import flow, get_run_logger

from retune.config import RetrainConfig
from retune.provider.errors import one_line
from retune.results.manifest import RunManifest
from tasks.ask_approval import ask_approval
from tasks.check_data import check_data
from tasks.create_job import create_job
from tasks.download_results import download_results
from tasks.evaluate_model import evaluate_model
from tasks.limit_cost import limit_cost
from tasks.load_data import load_data
from tasks.plot_results import plot_results
from tasks.publish_report import RunOutcome, publish_report
from tasks.runtime.cancelling import abort_on_cancel
from tasks.runtime.flow_run import begin_flow_run, completed_earlier, ended_unchanged, run_name
from tasks.runtime.hooks import cancel_remote_job, notify_failure, notify_success
from tasks.runtime.locks import exclusive_run, job_slot
from tasks.runtime.steps import finish_both, step_durations
from tasks.runtime.values import Evaluation, FinishedJob, References, TrainingFiles
from tasks.score_references import score_references
from tasks.split_data import split_data
from tasks.upload_file import upload_file
from tasks.wait_for_job import wait_for_job
from tasks.write_jsonl import write_jsonl


@flow(
    name="retrain",
    flow_run_name=run_name,
    on_failure=[notify_failure],
    on_cancellation=[cancel_remote_job],
)
async def retrain(config: RetrainConfig) -> RunManifest:
    """Fine-tune a chat model on a table of examples, evaluate it on held-out ones, and report.

    Running it again on the same data and settings resumes where it stopped and never starts a second job; where the
    run was complete, the flow run ends as Completed, named "Unchanged".
    """
    provider, training = config.provider, config.training
    await begin_flow_run(config)
    with abort_on_cancel():
        data = await load_data(config)
        async with exclusive_run(data.run):
            checked = await check_data(data, config.split, training.model, training.hyperparameters.n_epochs)
            split = await split_data(checked, config.split)
            files = await write_jsonl(split, checked.cost, provider)
            terms = await limit_cost(config, files)
            if terms.needs_approval:
                await ask_approval(config, files, terms.dates)

            # The floor needs the data alone, and has its seconds while the job trains.
            finished, references = await finish_both(_train(config, files), _score_floor(config, files))
            earlier = completed_earlier(config, finished)
            results = await download_results(finished, provider)
            (base, fine_tuned), figures = await finish_both(
                _evaluate_both(config, files, finished), plot_results(results)
            )

            outcome = RunOutcome(
                data=data,
                checked=checked,
                files=files,
                job=finished,
                results=results,
                figures=figures,
                references=references,
                base=base,
                fine_tuned=fine_tuned,
                dates=terms.dates,
                durations_seconds=step_durations(),
                earlier=earlier,
            )
            manifest = await publish_report(config, outcome)
            notify_success(config, manifest, is_unchanged=earlier is not None)
            return ended_unchanged(manifest) if earlier else manifest


async def _train(config: RetrainConfig, files: TrainingFiles) -> FinishedJob:
    run, provider, training = files.run, config.provider, config.training
    train_file = await upload_file(run, files.train, provider)
    validation_file = await upload_file(run, files.validation, provider) if files.validation else None
    async with job_slot(run, training, train_file, provider):
        job = await create_job(run, train_file, validation_file, training, provider)
        return await wait_for_job(run, job.started.job_id, training, provider)


async def _evaluate_both(
    config: RetrainConfig, files: TrainingFiles, job: FinishedJob
) -> tuple[Evaluation | None, Evaluation | None]:
    if files.test is None:
        return None, None
    evaluate = partial(evaluate_model, test_file=files.test, evaluation=config.evaluation, provider=config.provider)
    base = await evaluate(job.run, "base", config.training.model)
    fine_tuned = await evaluate(job.run, "fine_tuned", job.fine_tuned_model)
    return base, fine_tuned


async def _score_floor(config: RetrainConfig, files: TrainingFiles) -> References:
    try:
        return await score_references(files, config.evaluation.max_examples)
    except Exception as error:  # noqa: BLE001 - a run that is paid for must not fail for want of a comparison
        text = "The floor beside the models could not be scored: %s: %s"
        get_run_logger().warning(text, type(error).__name__, one_line(error), extra={"user_facing": True})
        return References(run=files.run)
