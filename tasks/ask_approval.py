"""Wait for a person's word before a job that costs more than is let through unasked."""

from datetime import timedelta

from prefect import get_run_logger
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from retune.config import RetrainConfig
from retune.data.cost.estimate import describe_cost, format_usd
from retune.data.cost.model_dates import ModelDates, describe_dates, utc_today
from retune.errors import OverBudgetError
from retune.results.markdown import escape
from retune.results.run_message import RunNotice
from tasks.runtime.events import emit_run_event
from tasks.runtime.hooks import flow_run_url
from tasks.runtime.values import TrainingFiles

_TIME_TO_ANSWER = timedelta(days=7)


class Approval(RunInput):
    """What Prefect's form asks for when the run is resumed."""

    note: str = Field("", max_length=500, description="Kept in the run's log: who approves it, and why.")


async def ask_approval(config: RetrainConfig, files: TrainingFiles, dates: ModelDates | None) -> None:
    """Suspend the flow run until somebody resumes it; it then starts again and continues here.

    Nothing waits meanwhile: the process ends, and no place in a concurrency limit is held. Cancelling the run declines;
    after seven days without an answer it fails. Data that has changed by then is another run, and is asked for anew.

    Raises:
        OverBudgetError: This run does not belong to a deployment, so nobody could resume it.
        Pause: It is suspended.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        raise OverBudgetError(
            f"{_reason(config, files)} Only a run of a deployment can wait for somebody's approval.",
            hint="Raise training.approve_above_usd, or leave it out, to train without being asked.",
        )
    form = Approval.with_initial_data(description=_question(config, files, dates))
    try:
        # Not a task's business: Prefect suspends from the flow alone.
        approval = await asuspend_flow_run(
            wait_for_input=form,
            timeout=int(_TIME_TO_ANSWER.total_seconds()),
            key=f"approve-{files.run.key[:32]}",
        )
    except Pause:
        notice = RunNotice(
            outcome="approval-needed",
            model=config.training.model,
            data=config.data.label,
            flow_run_url=flow_run_url(context.flow_run),
            error=_reason(config, files),
        )
        emit_run_event(notice, context.flow_run)
        raise
    get_run_logger().info("Approved%s", f": {approval.note}" if approval.note else ".")


def _reason(config: RetrainConfig, files: TrainingFiles) -> str:
    limit = config.training.approve_above_usd
    asked = f"training.approve_above_usd lets {format_usd(limit) if limit != 'never' else 'any cost'} through unasked"
    if files.cost.usd is None:
        return f"What the training will cost can't be said, and {asked}. {files.cost.note or ''}".rstrip()
    return f"The training would cost about {format_usd(files.cost.usd)}, and {asked}. {describe_cost(files.cost)}"


def _question(config: RetrainConfig, files: TrainingFiles, dates: ModelDates | None) -> str:
    lifetime = f" {describe_dates(dates, utc_today())}" if dates else ""
    return (
        f"**{escape(config.training.model)} on {escape(config.data.label)}**\n\n"
        f"{escape(_reason(config, files) + lifetime, 1000)}\n\nResume the run to train; cancel it to decline."
    )
