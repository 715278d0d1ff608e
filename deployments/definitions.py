"""What Retune's own deployments are: the file that they are made from, and the work pool's template."""

import json
from importlib import resources
from pathlib import Path

import yaml

from retune.errors import ConfigError
from retune.training_lines.keys import JsonObject

WORK_POOL = "retune"
PROCESS = "process"


def prefect_yaml() -> JsonObject:
    """The contents of `prefect.yaml`."""
    return dict(yaml.safe_load((_directory() / "prefect.yaml").read_text(encoding="utf-8")))


def entry_points() -> frozenset[str]:
    """The flows that the deployments run, as `flows.retrain.retrain`."""
    return frozenset(deployment["entrypoint"] for deployment in prefect_yaml()["deployments"])


def job_template() -> JsonObject:
    """The base job template of a process work pool."""
    return dict(json.loads((_directory() / "work_pools" / f"{PROCESS}.json").read_text(encoding="utf-8")))


def require_prefect_api() -> None:
    """Refuse to go on without an address: Prefect would start a server that any web page can use.

    Raises:
        ConfigError: Neither PREFECT_API_URL nor a Prefect profile names one.
    """
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415 - slow to import

    if not PREFECT_API_URL.value():
        raise ConfigError(
            "No Prefect server is named.",
            hint='Start one with `retune up` or `retune prefect start`, and name it with eval "$(retune prefect env)"; '
            "or set PREFECT_API_URL to the address of yours.",
        )


def _directory() -> Path:
    return Path(str(resources.files("deployments")))
