"""What a worker of Retune's refuses to run, decided from what the API says of the run."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse

from deployments.definitions import entry_points, job_template
from deployments.worker import refusal

OWN = min(entry_points())


def a_run(**more: Any) -> FlowRun:
    return FlowRun(flow_id=uuid4(), **more)


def a_deployment(**more: Any) -> DeploymentResponse:
    return DeploymentResponse(**{"flow_id": uuid4(), "name": "a", "entrypoint": OWN, **more})


def a_pool(**more: Any) -> WorkPool:
    return WorkPool(**{"name": "retune", "type": "process", "base_job_template": job_template(), **more})


def test_every_own_entry_point_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETUNE_WORKING_DIR", str(tmp_path))
    variables = {"working_dir": str(tmp_path)}
    for entry_point in entry_points():
        deployment = a_deployment(entrypoint=entry_point, job_variables=variables)
        assert refusal(a_run(job_variables=variables), deployment, a_pool()) is None


@pytest.mark.parametrize(
    ("deployment", "reason"),
    [
        ({"entrypoint": "evil.evil"}, "the deployment's entry point is 'evil.evil'"),
        ({"entrypoint": f"{OWN} "}, "the deployment's entry point is"),
        ({"entrypoint": None}, "the deployment's entry point is None"),
        ({"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "id"}}]}, "pull steps"),
        ({"storage_document_id": uuid4()}, "a storage block"),
        ({"job_variables": {"command": "id"}}, "the deployment's job variables set command"),
        ({"job_variables": {"env": {"PYTHONPATH": "/srv/other"}}}, "the deployment's job variables set env"),
        ({"job_variables": {"working_dir": "/"}}, "the deployment's job variables set the working directory /"),
    ],
)
def test_a_foreign_deployment_is_refused(deployment: dict[str, Any], reason: str) -> None:
    assert reason in str(refusal(a_run(), a_deployment(**deployment), a_pool()))


def test_a_run_without_a_deployment_is_refused() -> None:
    assert refusal(a_run(), None, a_pool()) == "the run belongs to no deployment"


def test_a_command_for_one_run_is_refused() -> None:
    said = refusal(a_run(job_variables={"command": "id"}), a_deployment(), a_pool())
    assert "the run's job variables set command" in str(said)


@pytest.mark.parametrize("field", ["type", "base_job_template"])
def test_a_changed_work_pool_is_refused(field: str) -> None:
    changed: dict[str, Any] = {"type": "docker"}
    template = job_template()
    template["job_configuration"]["command"] = "id"
    changed["base_job_template"] = template
    said = refusal(a_run(), a_deployment(), a_pool(**{field: changed[field]}))
    assert "is not the one that `retune deploy` and `retune up` make" in str(said)
