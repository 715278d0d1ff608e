"""`retune jobs`: list fine-tuning jobs, show one, follow one, cancel one."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from retune.cli.connection import BaseUrl, DataDirectory, ask
from retune.cli.results import Dark, Output, choose_outputs, draw
from retune.cli.terminal import as_local_time, print_fields, print_json, print_line, print_quietly, print_table, visible
from retune.training_lines.keys import JsonObject

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

    from retune.results.plots import JobMetrics

app = typer.Typer(no_args_is_help=True, help="Fine-tuning jobs of the provider.")

JobId = Annotated[str, typer.Argument(help="Id of the job: ftjob-…", metavar="JOB")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def describe() -> None:
    """Fine-tuning jobs of the provider."""


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(help="Largest number of jobs to list.", min=1)] = 20,
    base_url: BaseUrl = None,
    data_dir: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    from retune.provider import jobs  # noqa: PLC0415 - the SDK takes over a second to import

    found = ask(base_url, data_dir, lambda client: jobs.list_jobs(client, limit))
    if as_json:
        print_json([job.model_dump(mode="json") for job in found])
        return
    rows = [[job.id, job.status, job.model, job.fine_tuned_model or "", as_local_time(job.created_at)] for job in found]
    print_table(["job", "status", "base model", "fine-tuned model", "created"], rows)


@app.command()
def show(job: JobId, base_url: BaseUrl = None, data_dir: DataDirectory = None, as_json: AsJson = False) -> None:
    """Show one job in full."""
    from retune.provider import jobs  # noqa: PLC0415 - see above

    found = ask(base_url, data_dir, lambda client: jobs.retrieve_job(client, job))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    print_fields(_facts(found))


@app.command()
def events(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the job ends.")] = False,
    base_url: BaseUrl = None,
    data_dir: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Print the job's events, oldest first; with --follow, new ones too until the job ends."""
    ask(base_url, data_dir, lambda client: _print_events(client, job, follow=follow, as_json=as_json))


@app.command()
def results(
    job: JobId,
    output: Output = None,
    dark: Dark = False,
    base_url: BaseUrl = None,
    data_dir: DataDirectory = None,
) -> None:
    """Draw the job's loss and accuracy, with its checkpoints; --output NAME.csv writes the metrics themselves."""
    outputs = choose_outputs(output, job)
    from retune.results.plots import require_metrics  # noqa: PLC0415 - pandas takes half a second to import

    metrics = ask(base_url, data_dir, lambda client: _read_metrics(client, job))
    draw([require_metrics(metrics)], outputs, dark=dark)


@app.command()
def cancel(job: JobId, base_url: BaseUrl = None, data_dir: DataDirectory = None) -> None:
    """Cancel a job that has not ended."""
    from retune.provider import jobs  # noqa: PLC0415 - see above

    cancelled = ask(base_url, data_dir, lambda client: jobs.cancel_job(client, job))
    print_line(f"{cancelled.id} is {cancelled.status}.")


async def _print_events(client: "AsyncOpenAI", job_id: str, *, follow: bool, as_json: bool) -> None:
    from retune.provider import follow as following  # noqa: PLC0415 - see above

    # The first poll fails at once when nobody answers or there is no such job; later ones are retried.
    update = await following.poll_job(client, job_id)
    if not follow:
        for event in update.events:
            _print_event(event, as_json=as_json)
        return
    pauses = following.pauses_at(str(client.base_url))
    async for update in following.follow_job(client, job_id, pauses, on_trouble=_print_trouble):
        for event in update.events:
            _print_event(event, as_json=as_json)
        if update.state == "unknown":
            print_quietly(f"The provider shows the status {update.job.status!r}, which Retune does not know.")
    following.raise_unless_succeeded(update.job)


async def _read_metrics(client: "AsyncOpenAI", job_id: str) -> "JobMetrics":
    from retune.provider import follow  # noqa: PLC0415 - see above
    from retune.provider.files import download_result_files  # noqa: PLC0415
    from retune.provider.jobs import list_checkpoints  # noqa: PLC0415
    from retune.results.metrics import collect_metrics  # noqa: PLC0415
    from retune.results.plots import JobMetrics  # noqa: PLC0415

    update = await follow.poll_job(client, job_id)
    checkpoints = [one.model_dump(mode="json") for one in await list_checkpoints(client, job_id)]
    events = [follow.event_as_dict(event) for event in update.events]
    with TemporaryDirectory(prefix="retune-") as directory:
        paths = await download_result_files(client, update.job.result_files, Path(directory))
        metrics = collect_metrics([path.read_bytes() for path in paths], events, checkpoints)
    for problem in metrics.problems:
        print_quietly(visible(problem))
    n_epochs = update.job.hyperparameters.n_epochs if update.job.hyperparameters else None
    return JobMetrics(job_id, metrics.table, checkpoints, n_epochs if isinstance(n_epochs, int) else None)


def _print_trouble(error: Exception, pause_seconds: float) -> None:
    from retune.provider.errors import one_line  # noqa: PLC0415 - see above

    print_quietly(f"Can't read the job at the moment ({one_line(error)}). Trying again in {pause_seconds:.0f} s.")


def _print_event(event: "FineTuningJobEvent", *, as_json: bool) -> None:
    if as_json:
        print_json(event.model_dump(mode="json"), indent=None)
    else:
        print_line(f"{as_local_time(event.created_at)}  {event.level:<5}  {event.message}")


def _facts(job: "FineTuningJob") -> JsonObject:
    numbers = job.hyperparameters
    error = job.error if job.error and job.error.code else None
    return {
        "job": job.id,
        "status": job.status,
        "error": f"{error.code}: {error.message}" if error else None,
        "base model": job.model,
        "fine-tuned model": job.fine_tuned_model,
        "training file": job.training_file,
        "validation file": job.validation_file,
        "hyperparameters": numbers and ", ".join(f"{name} {value}" for name, value in numbers if value is not None),
        "seed": job.seed,
        "trained tokens": job.trained_tokens,
        "result files": ", ".join(job.result_files),
        "created": as_local_time(job.created_at),
        "finished": as_local_time(job.finished_at) if job.finished_at else None,
        "metadata": ", ".join(f"{name}={value}" for name, value in (job.metadata or {}).items()) or None,
    }
