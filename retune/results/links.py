"""Where the job, the model and the report of a run can be looked at."""

import os
from pathlib import Path
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict

from retune.private_files import home_directory
from retune.provider.endpoint import Endpoint
from retune.results.report_data import JobFacts

_OPENAI_JOBS = "https://platform.openai.com/finetune"


def artifact_name(name: str) -> str:
    """A name as keys of Prefect's artifacts may have it: lower case letters, digits and dashes."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())


def summary_key(name: str) -> str:
    """Key of the artifact that describes a run; the same key over all runs of a name is one history in the UI.

    Args:
        name: See `RetrainConfig.name`.
    """
    return f"retrain-{artifact_name(name)}"


class RunLink(BaseModel):
    """Something to look at.

    Attributes:
        title: What it is.
        text: Its name or path.
        url: None where no address is known.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    text: str
    url: str | None = None


def run_links(endpoint: Endpoint, job: JobFacts, report: Path) -> list[RunLink]:
    """The job, the model and the report of a run, with addresses where they have any.

    OpenAI shows jobs on a page of its own; elsewhere the address is the API's, which may ask for the key.
    """
    base = endpoint.base_url
    job_url = (
        f"{_OPENAI_JOBS}/{quote(job.id, safe='')}"
        if endpoint.kind == "openai"
        else f"{base}/fine_tuning/jobs/{quote(job.id, safe='')}"
    )
    links = [RunLink(title="Job", text=job.id, url=job_url)]
    if job.fine_tuned_model:
        model_url = f"{base}/models/{quote(job.fine_tuned_model, safe='')}"
        links.append(RunLink(title="Model", text=job.fine_tuned_model, url=model_url))
    return [*links, RunLink(title="Report", text=str(report), url=report_url(report))]


def report_url(report: Path) -> str | None:
    """Address of a report, where RETUNE_REPORTS_URL says at which one the runs directory is served.

    None where it is empty, is not an http(s) address, or the report is not in that directory.
    """
    served_at = os.environ.get("RETUNE_REPORTS_URL", "").strip().rstrip("/")
    if urlsplit(served_at).scheme not in {"http", "https"}:
        return None
    runs = (home_directory() / "runs").absolute()
    return f"{served_at}/{quote(report.relative_to(runs).as_posix())}" if report.is_relative_to(runs) else None
