"""The base job templates, read by the workers that they are for."""

import json
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.system import Secret
from prefect.workers.process import ProcessJobConfiguration
from prefect_docker.worker import DockerWorkerJobConfiguration
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration
from prefect_process import PrefectServer
from preloaded import run_preloaded

TEMPLATES = Path(__file__).parents[2] / "deployments" / "work_pools"
KEY = "sk-test-0123456789"


def template(kind: str) -> dict[str, Any]:
    loaded = json.loads((TEMPLATES / f"{kind}.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["process", "docker", "kubernetes"])
def test_prefect_takes_the_template(kind: str, prefect_server: PrefectServer) -> None:
    command = ["work-pool", "create", f"try-{kind}", "--type", kind, "--base-job-template"]
    environment = prefect_server.processes.variables()
    done = run_preloaded("prefect", [*command, TEMPLATES / f"{kind}.json"], env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    pool = prefect_server.request("GET", f"/work_pools/try-{kind}")
    prefect_server.request("DELETE", f"/work_pools/try-{kind}")
    assert pool["type"] == kind
    assert pool["base_job_template"] == template(kind)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_client_settings")
async def test_process_starts_where_the_data_is() -> None:
    job: Any = await ProcessJobConfiguration.from_template_and_values(template("process"), {"working_dir": "/srv"})
    assert str(job.working_dir) == "/srv"
    assert job.env["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"


@pytest.mark.usefixtures("prefect_api")
async def test_container_gets_limits_volume_and_the_key_of_the_secret_block() -> None:
    await Secret(value=KEY).save("openai-api-key", overwrite=True)
    job = await DockerWorkerJobConfiguration.from_template_and_values(
        template("docker"), {"image": "retune:test", "mem_limit": "3g"}
    )
    assert KEY not in json.dumps(template("docker"))
    assert job.env["OPENAI_API_KEY"] == KEY
    assert job.image == "retune:test"
    assert job.mem_limit == "3g"
    assert job.volumes == ["retune-home:/var/lib/retune"]
    assert job.networks == ["retune_default"]
    assert job.container_create_kwargs is not None
    assert job.container_create_kwargs["read_only"] is True
    assert job.container_create_kwargs["nano_cpus"] == 2_000_000_000


@pytest.mark.usefixtures("prefect_api")
async def test_kubernetes_job_has_resources_claim_and_secret_by_reference() -> None:
    job = await KubernetesWorkerJobConfiguration.from_template_and_values(
        template("kubernetes"), {"image": "retune:test", "memory_limit": "4Gi", "env": {"A": "b"}}
    )
    spec = job.job_manifest["spec"]
    assert spec["backoffLimit"] == 0
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == "retune:test"
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "4Gi"},
    }
    assert container["envFrom"] == [{"secretRef": {"name": "retune"}}]
    assert pod["volumes"][0] == {"name": "home", "persistentVolumeClaim": {"claimName": "retune-home"}}
    assert container["volumeMounts"][0] == {"name": "home", "mountPath": "/var/lib/retune"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert job.namespace == "retune"
    assert job.env["RETUNE_HOME"] == "/var/lib/retune"
