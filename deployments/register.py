"""Tell Prefect everything that Retune needs: work pool, deployments, automations, limits, notifications.

python -m deployments.register, or `retune deploy`. Doing it again brings all of it up to date and doubles nothing.

| variable | what it says | default |
|---|---|---|
| RETUNE_RETRAIN_CONFIG | YAML file, as for `retune run --config`: what is retrained | examples/support_tickets.yaml |
| RETUNE_SCHEDULE_CRON | when retrain/nightly runs | 0 3 * * * |
| RETUNE_TIMEZONE | the schedule's time zone | UTC |
| RETUNE_WORKING_DIR | what relative paths of data mean to the worker | the current directory |
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from pydantic import ValidationError

from deployments.automations import register_automations
from deployments.definitions import PROCESS, WORK_POOL, job_template, prefect_yaml, require_prefect_api
from deployments.limits import register_limits
from deployments.notifications import register_notifications
from deployments.schedules import keep_what_people_changed, read_deployments
from retune.config import RetrainConfig
from retune.config_file import load_config, scheduled_config_path
from retune.data.cost.model_dates import describe_end, utc_today
from retune.errors import ConfigError, RetuneError, ServerError
from retune.provider.endpoint import resolve_endpoint
from retune.training_lines.keys import JsonObject

_PATIENCE_SECONDS = 180.0
_UNAUTHORIZED = (401, 403)
_UNITS = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))
# Without data there is nothing to retrain or to watch on a schedule.
_NEED_DATA = {"nightly", "every-10-minutes"}


@dataclass(frozen=True, slots=True)
class Registration:
    """What the deployments are made with.

    Attributes:
        config: What is retrained; None where nobody named it.
        cron: When retrain/nightly runs.
        timezone: The schedule's time zone, by its IANA name.
        working_directory: What relative paths of data mean to the worker.
    """

    config: RetrainConfig | None
    cron: str
    timezone: str
    working_directory: str

    @classmethod
    def from_environment(cls) -> Self:
        """Read the variables of the module's table.

        Raises:
            ConfigError: One of them can't be used.
        """
        path = scheduled_config_path()
        cron = os.environ.get("RETUNE_SCHEDULE_CRON") or "0 3 * * *"
        timezone = os.environ.get("RETUNE_TIMEZONE") or "UTC"
        try:
            CronSchedule(cron=cron, timezone=timezone)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise ConfigError(
                f"RETUNE_SCHEDULE_CRON is {cron!r} and RETUNE_TIMEZONE {timezone!r}: {problem}.",
                hint="Expected five fields, as in '0 3 * * *', and a name such as Europe/Berlin.",
            ) from None
        config = None if path is None else load_config(path, {})
        if config is not None and "{{" in config.model_dump_json():
            # Prefect would put something else in its place, and so make another job than `retune run` does.
            raise ConfigError(
                f'{path} has "{{{{" in a text, which Prefect reads as a placeholder when it makes deployments.',
                hint="Write it otherwise; `retune run` and the form in Prefect's UI take it as it is.",
            )
        return cls(
            config=config,
            cron=cron,
            timezone=timezone,
            working_directory=os.environ.get("RETUNE_WORKING_DIR") or str(Path.cwd()),
        )


async def register(registration: Registration, say: Callable[[str], None]) -> None:
    """Wait for Prefect's server and make everything, or bring it up to date.

    Args:
        registration: What the deployments are made with.
        say: Called with a line for each thing that is there now.

    Raises:
        ConfigError: No Prefect server is named.
        ModelEndedError: The provider has ended the base model that is to be retrained.
        ServerError: Prefect's server does not answer, or refuses.
    """
    require_prefect_api()
    if registration.config is not None and (end := _describe_end(registration.config)):
        say(f"base model   {end}")
    async with get_client() as client:
        try:
            await _wait_for_prefect(client)
            pool_type = await _register_work_pool(client)
            say(f"work pool    {WORK_POOL}, for workers started with: python -P -m deployments.worker")
            settings = _settled(prefect_yaml(), registration, pool_type)
            known = await read_deployments(client, [_full_name(one) for one in settings["deployments"]])
            for deployment in settings["deployments"]:
                keep_what_people_changed(deployment, known.get(_full_name(deployment)))
            for line in await asyncio.to_thread(_deploy, settings, registration):
                say(line)
            for line in (
                *await register_automations(client),
                *await register_limits(client),
                *await register_notifications(client),
            ):
                say(line)
        except PrefectHTTPStatusError as error:
            raise _refusal(error, str(client.api_url)) from None


def _describe_end(config: RetrainConfig) -> str | None:
    # A container's worker may have another OPENAI_BASE_URL than this process: then the run itself says it.
    endpoint = resolve_endpoint(config.provider)
    if endpoint is None:
        return None
    training = config.training
    return describe_end(training.model, endpoint.kind, today=utc_today(), ignore_dates=training.ignore_dates)


async def _wait_for_prefect(client: PrefectClient) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (trouble := await client.api_healthcheck()) is not None:
        if time.monotonic() > deadline:
            raise ServerError(
                f"Prefect's server at {client.api_url} does not answer: {trouble}.",
                hint="Start it, or set PREFECT_API_URL to the address of one that runs.",
            )
        await asyncio.sleep(1)


def _refusal(error: PrefectHTTPStatusError, address: str) -> RetuneError:
    status = error.response.status_code
    if status in _UNAUTHORIZED:
        return ServerError(
            f"Prefect's server at {address} wants a password, and this one is missing or wrong.",
            hint="Set PREFECT_API_AUTH_STRING to what the server's PREFECT_SERVER_API_AUTH_STRING is; "
            '`eval "$(retune prefect env)"` does so for a server of Retune\'s.',
        )
    return ServerError(f"Prefect's server at {address} refused ({status}): {error.response.text[:500]}")


async def _register_work_pool(client: PrefectClient) -> str:
    template = job_template()
    try:
        pool = await client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        await client.create_work_pool(
            WorkPoolCreate(
                name=WORK_POOL, type=PROCESS, description="Retune's flows, as processes.", base_job_template=template
            )
        )
        return PROCESS
    # Somebody may run the flows as containers: then it is their pool, with their template.
    if pool.type == PROCESS:
        await client.update_work_pool(WORK_POOL, WorkPoolUpdate(base_job_template=template))
    return pool.type


def _full_name(deployment: JsonObject) -> str:
    return f"{deployment['entrypoint'].rsplit('.', 1)[1].replace('_', '-')}/{deployment['name']}"


def _deploy(settings: JsonObject, registration: Registration) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="retune-") as directory:
        path = Path(directory, "prefect.yaml")
        path.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
        # Not from the current directory: people keep data there, and may have named it as a module is named.
        command = [sys.executable, "-P", "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(path)]
        modules = os.pathsep.join(item or str(Path.cwd()) for item in sys.path)
        done = subprocess.run(  # noqa: S603  (Prefect's own command)
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": modules}
        )
    if done.returncode:
        raise ServerError(
            "The deployments could not be made; Prefect says:\n" + (done.stderr or done.stdout).strip()[-2000:],
            hint="`--debug` shows more.",
        )
    return [_describe(deployment, registration) for deployment in settings["deployments"]]


def _settled(settings: JsonObject, registration: Registration, pool_type: str) -> JsonObject:
    """The file's deployments with what the registration says in place of the defaults."""
    config = None if registration.config is None else registration.config.model_dump(mode="json", exclude_unset=True)
    deployments = []
    for deployment in settings["deployments"]:
        settled = dict(deployment)
        # A container has a working directory of its own.
        variables = {"working_dir": registration.working_directory} if pool_type == PROCESS else {}
        settled["work_pool"] = {**deployment["work_pool"], "job_variables": variables}
        if "parameters" in deployment:
            settled["parameters"] = {} if config is None else {"config": config}
        if deployment["name"] == "nightly":
            schedule = {**deployment["schedules"][0], "cron": registration.cron, "timezone": registration.timezone}
            settled["schedules"] = [schedule]
        if config is None and deployment["name"] in _NEED_DATA:
            settled["schedules"] = [{**schedule, "active": False} for schedule in settled["schedules"]]
        deployments.append(settled)
    return {**{name: value for name, value in settings.items() if name != "definitions"}, "deployments": deployments}


def _describe(deployment: JsonObject, registration: Registration) -> str:
    when = [_describe_schedule(schedule) for schedule in deployment.get("schedules", [])]
    when += [f"on {event}" for trigger in deployment.get("triggers", []) for event in trigger["expect"]]
    says = f"deployment   {_full_name(deployment)}" + (f", {', '.join(when)}" if when else ", started by hand")
    if registration.config is None and deployment["name"] in _NEED_DATA:
        says += " (off: name the data in a YAML file, and the file in RETUNE_RETRAIN_CONFIG)"
    return says


def _describe_schedule(schedule: JsonObject) -> str:
    paused = "" if schedule.get("active", True) else " (paused)"
    if "cron" in schedule:
        return f"{schedule['cron']} {schedule.get('timezone', 'UTC')}{paused}"
    if "interval" in schedule:
        seconds = round(schedule["interval"])
        unit, length = next(((name, size) for name, size in _UNITS if seconds % size == 0 and seconds >= size))
        return f"every {seconds // length} {unit}{paused}"
    return f"{schedule.get('rrule', 'a schedule')}{paused}"


def main() -> int:
    """Register; errors become one message and a non-zero exit status."""
    try:
        asyncio.run(register(Registration.from_environment(), print))
    except RetuneError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except httpx.HTTPError as error:
        print(f"error: Prefect's server can't be reached: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
