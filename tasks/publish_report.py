"""Put everything together: the report, the artifacts in the Prefect UI, and the manifest, which comes last."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import httpx
import pandas as pd
import plotly.graph_objects as go
from prefect import get_run_logger, task
from prefect.artifacts import acreate_link_artifact, acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict

from retune.config import RetrainConfig
from retune.data.cost.model_dates import ModelDates
from retune.evaluation.examples import Answer
from retune.files import write_json
from retune.provider.endpoint import require_endpoint
from retune.results.curves import best_checkpoint
from retune.results.evaluation_figures import evaluation_figures
from retune.results.example_table import describe_examples, example_rows
from retune.results.links import artifact_name, report_url, run_links, summary_key
from retune.results.manifest import EvaluationFacts, RunManifest
from retune.results.markdown import markdown_summary
from retune.results.report import write_report
from retune.results.report_data import (
    DataFacts,
    EvaluationReport,
    JobFacts,
    ReportData,
    SplitFacts,
    StepDuration,
    report_evaluation,
)
from retune.results.report_figures import describe_best, describe_figures
from retune.results.training_cost import training_cost
from tasks.runtime.steps import PERSISTED
from tasks.runtime.values import (
    CheckedData,
    Evaluation,
    Figures,
    FinishedJob,
    JobResults,
    LoadedData,
    References,
    TrainingFiles,
)


class RunOutcome(BaseModel):
    """All that the steps of a run returned.

    Attributes:
        base: None, like `fine_tuned`, where no test examples were held out.
        dates: When the provider ends the base model; None where nothing is published.
        durations_seconds: Wall time of each step.
        earlier: The run's manifest, where an earlier flow run completed it and nothing has changed since.
    """

    model_config = ConfigDict(frozen=True)

    data: LoadedData
    checked: CheckedData
    files: TrainingFiles
    job: FinishedJob
    results: JobResults
    figures: Figures
    references: References
    base: Evaluation | None
    fine_tuned: Evaluation | None
    dates: ModelDates | None
    durations_seconds: dict[str, float]
    earlier: RunManifest | None = None


# Not cached: the durations are those of this flow run, and the manifest says when it was completed.
@task(cache_policy=NO_CACHE, **PERSISTED)
async def publish_report(config: RetrainConfig, outcome: RunOutcome) -> RunManifest:
    """Write `report.html`, publish the artifacts, and at last write `manifest.json`.

    Raises:
        OSError: The report can't be written.
    """
    run = outcome.data.run
    report = await asyncio.to_thread(_build_report, config, outcome)
    report_path = run.path("report.html")
    await asyncio.to_thread(write_report, report_path, report)
    await _publish_artifacts(config, outcome, report, report_path)
    manifest = _build_manifest(config, outcome, report, report_path)
    await asyncio.to_thread(write_json, run.manifest_path, manifest.model_dump(mode="json"))
    return manifest


async def _publish_artifacts(config: RetrainConfig, outcome: RunOutcome, report: ReportData, run_report: Path) -> None:
    name = artifact_name(config.name)
    links = run_links(require_endpoint(config.provider), report.job, run_report)
    try:
        await acreate_markdown_artifact(
            key=summary_key(config.name),
            markdown=markdown_summary(report, _images(outcome.figures), links=links),
            description=f"Fine-tuning of {config.training.model} on {config.data.label}",
        )
        if report.evaluation and report.evaluation.examples:
            await acreate_table_artifact(
                key=f"examples-{name}",
                table=example_rows(report.evaluation),
                description=describe_examples(report.evaluation),
            )
        if url := report_url(run_report):
            await acreate_link_artifact(key=f"report-{name}", link=url, link_text="The report of this run")
    except (httpx.HTTPError, PrefectException) as error:
        # The run is done and paid for; only what the UI shows of it is missing.
        get_run_logger().warning("The artifacts of the run could not be published: %s", error)


def _build_report(config: RetrainConfig, outcome: RunOutcome) -> ReportData:
    evaluation = _evaluate(outcome)
    figures = {name: go.Figure(json.loads(path.read_bytes())) for name, path in outcome.figures.figures.items()}
    if evaluation and outcome.fine_tuned:
        figures |= evaluation_figures(evaluation.comparison, _answers(outcome.fine_tuned.answers))
    return ReportData(
        run_key=outcome.data.run.key,
        finished_at=datetime.now(UTC).astimezone(),
        job=_job_facts(config, outcome),
        data=_data_facts(outcome),
        durations=[StepDuration(name=name, seconds=seconds) for name, seconds in outcome.durations_seconds.items()],
        warnings=outcome.checked.warnings,
        evaluation=evaluation,
        figures=describe_figures(figures),
    )


def _evaluate(outcome: RunOutcome) -> EvaluationReport | None:
    if outcome.base is None or outcome.fine_tuned is None:
        return None
    return report_evaluation(
        _answers(outcome.base.answers),
        _answers(outcome.fine_tuned.answers),
        references={name: _answers(path) for name, path in outcome.references.answers.items()},
    )


def _answers(path: Path) -> list[Answer]:
    return [Answer.model_validate_json(line) for line in path.read_bytes().splitlines()]


def _job_facts(config: RetrainConfig, outcome: RunOutcome) -> JobFacts:
    job = outcome.job
    numbers = {
        "n_epochs": job.n_epochs,
        "batch_size": job.batch_size,
        "learning_rate_multiplier": job.learning_rate_multiplier,
    }
    cost_usd, cost_is_estimated = training_cost(
        config.provider, job.model, trained_tokens=job.trained_tokens, estimate_usd=outcome.files.estimated_cost_usd
    )
    best = best_checkpoint(pd.read_csv(outcome.results.metrics), json.loads(outcome.results.checkpoints.read_bytes()))
    return JobFacts(
        id=job.job_id,
        status="succeeded",
        provider_url=require_endpoint(config.provider).base_url,
        base_model=job.model,
        fine_tuned_model=job.fine_tuned_model,
        method=config.training.method,
        seed=job.seed,
        hyperparameters={name: value for name, value in numbers.items() if value is not None},
        trained_tokens=job.trained_tokens,
        running_seconds=job.running_seconds,
        steps=outcome.results.steps,
        cost_usd=cost_usd,
        cost_is_estimated=cost_is_estimated,
        best_checkpoint=describe_best(best) if best else None,
        metrics_sources=outcome.results.sources,
        new_jobs_end=outcome.dates.new_jobs_end if outcome.dates else None,
        shutdown=outcome.dates.fine_tuned_shutdown if outcome.dates else None,
    )


def _data_facts(outcome: RunOutcome) -> DataFacts:
    files = outcome.files
    written = {"train": files.train, "validation": files.validation, "test": files.test}
    return DataFacts(
        source=outcome.data.source,
        shape=outcome.data.shape,
        unused=outcome.data.unused,
        n_rows=outcome.data.examples.n_examples,
        splits=[
            SplitFacts(
                name=name,
                n_examples=file.examples if file else 0,
                n_tokens=files.split_tokens.get(name),
                origin=files.split_origins.get(name),
            )
            for name, file in written.items()
        ],
    )


def _images(figures: Figures) -> Mapping[str, bytes]:
    return {name: path.read_bytes() for name, path in figures.images.items()}


def _build_manifest(config: RetrainConfig, outcome: RunOutcome, report: ReportData, report_path: Path) -> RunManifest:
    files = {"train": outcome.files.train, "validation": outcome.files.validation, "test": outcome.files.test}
    evaluation = report.evaluation
    return RunManifest(
        retune_version=version("retune"),
        run_key=outcome.data.run.key,
        directory=outcome.data.run.directory,
        completed_at=outcome.earlier.completed_at if outcome.earlier else report.finished_at.isoformat("T", "seconds"),
        fine_tuned_model=outcome.job.fine_tuned_model,
        data=report.data,
        job=report.job,
        files={name: facts for name, facts in files.items() if facts},
        metrics=outcome.results.last,
        evaluation=EvaluationFacts(
            base=evaluation.base,
            fine_tuned=evaluation.fine_tuned,
            comparison=evaluation.comparison,
            references=evaluation.references,
            notes=evaluation.notes,
        )
        if evaluation
        else None,
        warnings=report.warnings,
        durations=report.durations,
        report=report_path,
        config=config,
        flow_run_id=outcome.earlier.flow_run_id if outcome.earlier else flow_run.get_id(),
    )
