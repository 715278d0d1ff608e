"""Automations that resume interrupted runs. The reasons for their settings were measured on Prefect 3.8.8."""

from datetime import timedelta
from typing import Any

from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType

# The worker reports a crash twice, seconds apart; an automation that reacts to the first starts two processes.
_QUIET_AFTER_CRASH = timedelta(seconds=15)
# Six heartbeats of 30 s: longer than a server takes to restart, or healthy runs would count as dead.
_WITHOUT_HEARTBEAT = timedelta(seconds=180)
_TO_START = timedelta(minutes=5)

# A run that found nothing to do ends as Completed under the name "Unchanged", and events carry names.
_ENDS = ("Completed", "Unchanged", "Failed", "Cancelled", "Crashed")
_PAUSES = ("Paused", "Suspended")
_BEGINNINGS = ("Scheduled", "Late", "AwaitingRetry", "AwaitingConcurrencySlot", "Pending", "Running", "Retrying")


def _events(*states: str) -> set[str]:
    return {f"prefect.flow-run.{state}" for state in states}


_RESUME = "retune - resume crashed runs"
# Renamed in place: two of them would start a run twice, and a person may have disabled it.
_FORMER_NAMES = {_RESUME: "retune - take up crashed runs"}


def automations() -> list[AutomationCore]:
    """The automations of Retune, by name."""
    again = ChangeFlowRunState(
        state=StateType.SCHEDULED, name="AwaitingRetry", message="Rescheduled after its process was lost."
    )
    lost = ChangeFlowRunState(state=StateType.CRASHED, message="No heartbeat: its process is gone.")
    return [
        _automation(
            _RESUME,
            "Restarts a retrain run whose process was lost. It resumes where it stopped, with the same job.",
            after=_events("Crashed"),
            expect=_events("Crashed", *_BEGINNINGS, *_ENDS, *_PAUSES, "Cancelling"),
            within=_QUIET_AFTER_CRASH,
            action=again,
        ),
        _automation(
            "retune - notice lost processes",
            "Marks a retrain run as crashed that sent no heartbeat for three minutes.",
            after={"prefect.flow-run.heartbeat"},
            expect={
                "prefect.flow-run.heartbeat",
                *_events("Scheduled", "AwaitingRetry", *_ENDS, *_PAUSES, "Cancelling"),
            },
            within=_WITHOUT_HEARTBEAT,
            action=lost,
        ),
        _automation(
            "retune - start what got stuck",
            "Starts a retrain run again that was about to start for five minutes.",
            after=_events("Pending", "Submitting"),
            # A container that is on its way may take its time: its image is pulled. `reconcile` looks after those.
            expect={
                "prefect.flow-run.heartbeat",
                *_events(*_BEGINNINGS, *_ENDS, *_PAUSES, "Cancelling", "InfrastructurePending"),
            }
            - _events("Pending"),
            within=_TO_START,
            action=again,
        ),
    ]


def _automation(
    name: str,
    description: str,
    *,
    after: set[str],
    expect: set[str],
    within: timedelta,
    action: ChangeFlowRunState,
) -> AutomationCore:
    return AutomationCore(
        name=name,
        description=description,
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after=after,
            expect=expect,
            for_each={"prefect.resource.id"},
            match=_resources({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=_resources({"prefect.resource.role": "flow", "prefect.resource.name": "retrain"}),
            threshold=1,
            within=within,
        ),
        actions=[action],
    )


def _resources(labels: dict[str, str]) -> Any:
    return labels


def _says_the_same(known: AutomationCore, wanted: AutomationCore) -> bool:
    said = {"name", "description", "trigger", "actions"}
    return known.model_dump(include=said) == wanted.model_dump(include=said)


async def put_automation(client: PrefectClient, automation: AutomationCore) -> None:
    """Make an automation, or bring the one of its name up to date; whether that is enabled is for people to say.

    One that says the same is left alone: Prefect forgets what a changed one is waiting for.
    """
    known = await client.read_automations_by_name(automation.name)
    if automation.name in _FORMER_NAMES:
        known += await client.read_automations_by_name(_FORMER_NAMES[automation.name])
    if not known:
        await client.create_automation(automation)
        return
    if not _says_the_same(known[0], automation):
        await client.update_automation(known[0].id, automation.model_copy(update={"enabled": known[0].enabled}))
    for double in known[1:]:
        await client.delete_automation(double.id)


async def register_automations(client: PrefectClient) -> list[str]:
    """Make the automations, or bring those of the same names up to date.

    Returns:
        A line for each.
    """
    lines = []
    for automation in automations():
        await put_automation(client, automation)
        lines.append(f"automation   {automation.name}")
    return lines
