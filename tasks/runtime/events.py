"""What becomes of jobs and runs, told as Prefect events that automations can act on.

| event | resource |
|---|---|
| `retune.job.created`, `.succeeded`, `.failed`, `.cancelled` | `retune.job.<job id>` |
| `retune.run.succeeded`, `.unchanged`, `.failed`, `.over-budget`, `.approval-needed`, … | `retune.run.<flow run id>` |

An event's id is made of what it tells, so that Prefect keeps it once, whoever tells it and how often.
"""

from typing import Literal
from uuid import UUID, uuid5

from prefect.client.schemas.objects import FlowRun
from prefect.events import emit_event
from pydantic import BaseModel, ConfigDict

from retune.private_files import private_opener
from retune.results.run_message import RunNotice
from retune.run import Run

JobNews = Literal["created", "succeeded", "failed", "cancelled"]
_NAMESPACE = UUID("5ff3e1a2-0b0c-4c63-9b8c-6f1d5f3f2a11")
_TOLD_FILE = ".told_events"


class JobNotice(BaseModel):
    """What is told of a job.

    Attributes:
        model: The base model.
        provider_url: The API's address.
        seconds: How long it trained.
        cost_usd: None where training is free or no price is known.
        error: Why it has no model, as one line.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str
    model: str
    provider_url: str
    run_key: str
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    seconds: float | None = None
    cost_usd: float | None = None
    error: str | None = None


def emit_job_event(news: JobNews, notice: JobNotice, *, run: Run | None = None) -> None:
    """Tell what became of a job.

    Args:
        news: What happened.
        notice: What is known of it.
        run: The job's run: its directory remembers what was told, so that a later flow run does not tell it again.
    """
    name = f"retune.job.{news}"
    if run and _was_told(run, f"{name} {notice.job_id}"):
        return
    emit_event(
        name,
        resource={"prefect.resource.id": f"retune.job.{notice.job_id}", "prefect.resource.name": notice.job_id},
        payload=notice.model_dump(mode="json"),
        id=uuid5(_NAMESPACE, f"{name} {notice.job_id}"),
    )


def emit_run_event(notice: RunNotice, flow_run: FlowRun) -> None:
    """Report how a run ended, or that it waits, with the message that people get; once for each time it was resumed."""
    name = f"retune.run.{notice.outcome}"
    emit_event(
        name,
        resource={"prefect.resource.id": f"retune.run.{flow_run.id}", "prefect.resource.name": flow_run.name},
        related=[
            {
                "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
                "prefect.resource.role": "flow-run",
                "prefect.resource.name": flow_run.name,
            }
        ],
        payload={**notice.model_dump(mode="json"), "title": notice.title, "message": notice.message},
        id=uuid5(_NAMESPACE, f"{name} {flow_run.id} {flow_run.run_count}"),
    )


def _was_told(run: Run, what: str) -> bool:
    """Whether it was told before; from now on it was."""
    path = run.path(_TOLD_FILE)
    told = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if what in told:
        return True
    with open(path, "a", encoding="utf-8", opener=private_opener) as stream:
        stream.write(f"{what}\n")
    return False
