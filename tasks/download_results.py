"""Fetch what the job left behind, and put its metrics into one table."""

import asyncio

from openai import AsyncOpenAI
from prefect import get_run_logger

from retune.config import ProviderConfig
from retune.data.text.jsonl import read_jsonl
from retune.errors import ProviderError
from retune.files import write_bytes, write_json
from retune.provider.files import download_result_files
from retune.provider.jobs import list_checkpoints
from retune.results.metrics import TrainingMetrics, collect_metrics
from tasks.runtime.provider_client import provider_client
from tasks.runtime.steps import PERSISTED, by_content, retried, step
from tasks.runtime.values import FinishedJob, JobResults


@step("results", cache_policy=by_content(exclude=("provider",)), **retried(2, 10, 30, 60), **PERSISTED)
async def download_results(job: FinishedJob, provider: ProviderConfig) -> JobResults:
    """Download every result file; where there is none that can be read, the events and checkpoints stand in.

    Raises:
        ResultsError: Nothing holds any metrics.
        ProviderError: The provider won't hand out a file.
    """
    run = job.run
    async with await provider_client(provider) as client:
        paths = await download_result_files(client, job.result_files, run.path("results"))
        checkpoints = await _checkpoints(client, job.job_id)
    checkpoints_path = run.path("checkpoints.json")
    await asyncio.to_thread(write_json, checkpoints_path, checkpoints)
    events = list(read_jsonl(job.events))
    metrics = collect_metrics([path.read_bytes() for path in paths], events, checkpoints)
    for problem in metrics.problems:
        get_run_logger().warning(problem)
    metrics_path = run.path("metrics.csv")
    await asyncio.to_thread(write_bytes, metrics_path, metrics.table.to_csv(index=False).encode())
    return JobResults(
        run=run,
        metrics=metrics_path,
        checkpoints=checkpoints_path,
        files=paths,
        sources=list(metrics.sources),
        steps=len(metrics.table),
        n_epochs=job.n_epochs if isinstance(job.n_epochs, int) else None,
        last=_last_values(metrics),
    )


async def _checkpoints(client: AsyncOpenAI, job_id: str) -> list[dict[str, object]]:
    try:
        found = await list_checkpoints(client, job_id)
    except ProviderError as error:
        # Hosts without this endpoint still have result files; the figures then mark no checkpoints.
        get_run_logger().warning("%s The figures will mark no checkpoints.", error.message)
        return []
    return [checkpoint.model_dump(mode="json") for checkpoint in found]


def _last_values(metrics: TrainingMetrics) -> dict[str, float]:
    table = metrics.table.drop(columns="step")
    return {str(name): float(values.dropna().iloc[-1]) for name, values in table.items() if values.notna().any()}
