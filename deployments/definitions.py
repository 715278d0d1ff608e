"""What Retune's own deployments are: the file that they are made from, and the work pool's template."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

WORK_POOL = "retune"
PROCESS = "process"


def prefect_yaml() -> dict[str, Any]:
    """The contents of `prefect.yaml`."""
    return dict(yaml.safe_load((_directory() / "prefect.yaml").read_text(encoding="utf-8")))


def entry_points() -> frozenset[str]:
    """The flows that the deployments run, as `flows.retrain.retrain`."""
    return frozenset(deployment["entrypoint"] for deployment in prefect_yaml()["deployments"])


def job_template() -> dict[str, Any]:
    """The base job template of a process work pool."""
    return dict(json.loads((_directory() / "work_pools" / f"{PROCESS}.json").read_text(encoding="utf-8")))


def _directory() -> Path:
    return Path(str(resources.files("deployments")))
