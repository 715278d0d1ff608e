"""Put everything together: the report, the artifact in the Prefect UI, and the manifest, which comes last."""

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
from prefect.artifacts import acreate_markdown_artifact
from prefect.exceptions import PrefectException
from pydantic import BaseModel, ConfigDict

from retune.config import ProviderConfig, RetrainConfig
from retune.data.cost import price_of_tokens, trains_for_free
from retune.evaluation.examples import Answer
from retune.files import write_json
from retune.manifest import EvaluationFacts, RunManifest
from retune.provider.endpoint import require_endpoint
from retune.results.curves import best_checkpoint
from retune.results.evaluation_figures import evaluation_figures
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
from retune.results.static_images import mermaid_line_chart
from tasks.policies import PERSISTED
from tasks.progress import artifact_name
from tasks.values import CheckedData, Evaluation, Figures, FinishedJob, JobResults, LoadedData, TrainingFiles


class RunOutcome(BaseModel):
    """All that the steps of a run returned.

    Attributes:
        base: None, like `fine_tuned`, where no test examples were held out.
        durations_seconds: Wall time of each step.
    """

    model_config = ConfigDict(frozen=True)

    data: LoadedData
    checked: CheckedData
    files: TrainingFiles
    job: FinishedJob
    results: JobResults
    figures: Figures
    base: Evaluation | None
    fine_tuned: Evaluation | None
    durations_seconds: dict[str, float]


# Not cached: the durations are those of this flow run, and the manifest says when it was completed.
@task(**PERSISTED)
async def publish_report(config: RetrainConfig, outcome: RunOutcome) -> RunManifest:
    """Write `report.html`, publish the summary as a markdown artifact, and at last write `manifest.json`.

    Raises:
        OSError: The report can't be written.
    """
    run = outcome.data.run
    report = await asyncio.to_thread(_build_report, config, outcome)
    report_path = run.path("report.html")
    await asyncio.to_thread(write_report, report_path, report)
    await _publish_summary(config, outcome, report)
    manifest = _build_manifest(config, outcome, report, report_path)
    await asyncio.to_thread(write_json, run.manifest_path, manifest.model_dump(mode="json"))
    return manifest


async def _publish_summary(config: RetrainConfig, outcome: RunOutcome, report: ReportData) -> None:
    mermaid = mermaid_line_chart(pd.read_csv(outcome.results.metrics))
    try:
        await acreate_markdown_artifact(
            key=f"retrain-{_artifact_name(config)}",
            markdown=markdown_summary(report, _images(outcome.figures), mermaid),
            description=f"Fine-tuning of {config.training.model} on {config.data.label}",
        )
    except (httpx.HTTPError, PrefectException) as error:
        # The run is done and paid for; only its summary in the UI is missing.
        get_run_logger().warning("The summary could not be published as an artifact: %s", error)


def _artifact_name(config: RetrainConfig) -> str:
    # The same key over all runs of the same intent: the Prefect UI shows them as one history.
    return artifact_name(config.training.suffix or config.data.label)


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
    return report_evaluation(_answers(outcome.base.answers), _answers(outcome.fine_tuned.answers))


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
    )


def training_cost(
    provider: ProviderConfig, model: str, *, trained_tokens: int | None, estimate_usd: float | None
) -> tuple[float | None, bool]:
    """What a training cost in US dollars, None where it is free or no price is known; and whether it is estimated."""
    kind = require_endpoint(provider).kind
    if kind == "other" or trains_for_free(kind, model):
        return None, False
    # The provider's count has all epochs in it.
    cost = price_of_tokens(model, trained_tokens) if trained_tokens is not None else None
    return (cost, False) if cost is not None else (estimate_usd, estimate_usd is not None)


def _data_facts(outcome: RunOutcome) -> DataFacts:
    files = outcome.files
    written = {"train": files.train, "validation": files.validation, "test": files.test}
    return DataFacts(
        source=outcome.data.source,
        shape=outcome.data.shape,
        n_rows=outcome.data.examples.n_examples,
        splits=[
            SplitFacts(name=name, n_examples=file.examples if file else 0, n_tokens=files.split_tokens.get(name))
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
        completed_at=report.finished_at.isoformat(timespec="seconds"),
        fine_tuned_model=outcome.job.fine_tuned_model,
        data=report.data,
        job=report.job,
        files={name: facts for name, facts in files.items() if facts},
        metrics=outcome.results.last,
        evaluation=EvaluationFacts(
            base=evaluation.base, fine_tuned=evaluation.fine_tuned, comparison=evaluation.comparison
        )
        if evaluation
        else None,
        warnings=report.warnings,
        durations=report.durations,
        report=report_path,
        config=config,
    )
