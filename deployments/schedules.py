"""What people changed about the schedules of deployments, and Prefect would drop when they are deployed again."""

from collections.abc import Sequence

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from retune.training_lines.keys import JsonMapping, JsonObject

Schedule = JsonObject


async def read_deployments(client: PrefectClient, names: Sequence[str]) -> dict[str, DeploymentResponse]:
    """Those deployments that are there, by flow and name."""
    found = {}
    for name in names:
        try:
            found[name] = await client.read_deployment_by_name(name)
        except ObjectNotFound:
            continue
    return found


def keep_what_people_changed(deployment: JsonObject, known: DeploymentResponse | None) -> None:
    """Have what somebody paused stay paused, and schedules that somebody added stay as they are.

    Args:
        deployment: As in prefect.yaml, with a slug in each schedule; is changed.
        known: The deployment as it is; None for a new one.
    """
    if known is None:
        return
    ours: list[Schedule] = deployment.get("schedules", [])
    slugs = {schedule["slug"] for schedule in ours}
    paused = {one.slug for one in known.schedules if not one.active} if _was_paused_by_people(known) else set()
    deployment["paused"] = known.paused
    deployment["schedules"] = [
        *({**schedule, "active": False} if schedule["slug"] in paused else schedule for schedule in ours),
        *(_as_in_prefect_yaml(one) for one in known.schedules if one.slug not in slugs),
    ]


def _was_paused_by_people(known: DeploymentResponse) -> bool:
    # Retune itself pauses schedules of what needs data and has none.
    return bool(known.parameters.get("config")) or not _needs_config(known.parameter_openapi_schema)


def _needs_config(schema: JsonMapping | None) -> bool:
    return "config" in (schema or {}).get("properties", {})


def _as_in_prefect_yaml(schedule: DeploymentSchedule) -> Schedule:
    return {
        **schedule.schedule.model_dump(mode="json", exclude_none=True),
        **schedule.model_dump(mode="json", include={"active", "slug", "parameters"}, exclude_none=True),
    }
