"""A worker that runs Retune's own flows and nothing else: python -P -m deployments.worker.

Whoever may write to Prefect's API can make a deployment of any code, with steps and variables that run commands, and
can write any command into a work pool's template; Prefect's own process worker runs all of it. This one takes only
which of Retune's flows is to run, and its parameters, from the API. Command, environment and working directory are its
own.

Takes the options of `prefect worker start`, such as `--limit 2` and `--with-healthcheck`.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import anyio
import httpx
from prefect.exceptions import PrefectException
from prefect.runner import _workspace_runtime_bootstrap
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._starter_engine import EngineCommandStarter
from prefect.runner._workspace_hook_runner import WorkspaceHookRunner
from prefect.runner._workspace_runtime import PreparedWorkspaceManifest, write_private_model
from prefect.states import Failed
from prefect.utilities.processutils import command_to_string
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from deployments.definitions import PROCESS, WORK_POOL, entry_points, job_template, require_prefect_api
from retune.errors import ConfigError
from retune.private_files import home_directory, keep_files_private
from retune.training_lines.keys import JsonObject

if TYPE_CHECKING:
    from anyio.abc import TaskStatus
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, WorkPool
    from prefect.client.schemas.responses import DeploymentResponse

_OWN_TYPE = "retune-process"


def working_directory() -> Path:
    """Where flows run: RETUNE_WORKING_DIR, else the current directory."""
    return Path(os.environ.get("RETUNE_WORKING_DIR") or Path.cwd()).resolve()


class OwnJobConfiguration(ProcessJobConfiguration):
    """How a flow runs, whatever the work pool, the deployment and the run say of it."""

    @classmethod
    async def resolve_for_flow_run(
        cls,
        flow_run: "FlowRun",
        *,
        client: "PrefectClient",
        work_pool: "WorkPool",
        worker_name: str,
        worker_id: UUID | None = None,
        deployment: "DeploymentResponse | None" = None,
    ) -> Self:
        """Make the configuration; of Prefect's API it takes names and ids alone."""
        variables = job_template()["variables"]["properties"]
        configuration = cls(working_dir=working_directory(), env=variables["env"]["default"])
        flow = await client.read_flow(flow_run.flow_id)
        if deployment is None and flow_run.deployment_id:
            deployment = await client.read_deployment(flow_run.deployment_id)
        configuration.prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id=worker_id)
        return configuration


class OwnFlowsWorker(ProcessWorker):
    """A process worker for the flows that `prefect.yaml` lists; every other run fails, and its log says why."""

    job_configuration = OwnJobConfiguration

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._admitted: dict[UUID, str] = {}

    @classmethod
    def __dispatch_key__(cls) -> str:
        # By this key the command line finds it beside Prefect's own, which serves pools of the same type.
        return _OWN_TYPE

    async def _propose_pending_state(self, flow_run: "FlowRun") -> bool:
        try:
            deployment = await self.client.read_deployment(flow_run.deployment_id) if flow_run.deployment_id else None
            reason = refusal(flow_run, deployment, self.work_pool)
            if reason is None and deployment is not None:
                is_pending = await super()._propose_pending_state(flow_run)
                if is_pending:
                    self._admitted[flow_run.id] = str(deployment.entrypoint)
                return is_pending
            message = f"Refused: {reason}. This worker runs Retune's own deployments only."
            self.get_flow_run_logger(flow_run).error(message)
            # Not crashed: what has crashed is started again.
            await self.client.set_flow_run_state(flow_run.id, Failed(message=message), force=True)
        except (httpx.HTTPError, PrefectException):
            self.get_flow_run_logger(flow_run).exception("Prefect did not answer; this run is looked at again later.")
        return False

    async def run(
        self,
        flow_run: "FlowRun",
        configuration: ProcessJobConfiguration,
        task_status: "TaskStatus[int] | None" = None,
    ) -> ProcessWorkerResult:
        """Run a flow that was admitted, as a process, and wait for its end."""
        entry_point = self._admitted.pop(flow_run.id)
        with tempfile.TemporaryDirectory(prefix="retune-hooks-") as directory:
            manifest = Path(directory, "workspace.json")
            write_private_model(manifest, _hooks(entry_point, configuration))
            async with FlowRunExecutorContext() as context:
                starter = EngineCommandStarter(
                    command=command_to_string(_python("-m", "deployments.flow_run_process", entry_point)),
                    cwd=configuration.working_dir,
                    env=configuration.env,
                    stream_output=configuration.stream_output,
                    control_channel=context.control_channel,
                    isolate_process_group=True,
                    env_overrides_settings=True,
                )
                hooks = WorkspaceHookRunner(manifest_path=manifest, stream_output=configuration.stream_output)
                executor = context.create_executor(flow_run, starter, propose_submitting=False, hook_runner=hooks)
                execution = await _executed(executor.submit, task_status or anyio.TASK_STATUS_IGNORED)
        if execution is None or execution.status_code is None:
            raise RuntimeError("The flow run's process did not start.")
        return ProcessWorkerResult(status_code=execution.status_code, identifier=str(execution.handle.pid))


async def _executed(submit: Any, task_status: "TaskStatus[int]") -> Any:
    """Wait for a process, and tell its number as soon as there is one."""
    ended: list[Any] = []

    async def execute(*, task_status: Any) -> None:
        ended.append(await submit(task_status=task_status))

    async with anyio.create_task_group() as group:
        handle = await group.start(execute)
        task_status.started(handle.pid)
    return ended[0]


def refusal(flow_run: "FlowRun", deployment: "DeploymentResponse | None", work_pool: "WorkPool") -> str | None:
    """Why a run is not run here; None where it may be."""
    if deployment is None:
        return "the run belongs to no deployment"
    if deployment.entrypoint not in entry_points():
        return f"the deployment's entry point is {deployment.entrypoint!r}"
    if deployment.pull_steps or deployment.storage_document_id:
        return "the deployment has pull steps or a storage block"
    if work_pool.type != PROCESS or work_pool.base_job_template != job_template():
        return (
            f"the base job template of the work pool {work_pool.name!r} is not the one that `retune deploy` and "
            "`retune up` make, which put it right again"
        )
    for owner, variables in (("deployment", deployment.job_variables), ("run", flow_run.job_variables)):
        if foreign := _foreign(variables or {}):
            return f"the {owner}'s job variables set {foreign}"
    return None


def _foreign(variables: JsonObject) -> str | None:
    others = sorted(set(variables) - {"working_dir"})
    if others:
        return f"{', '.join(others)}, which are for the worker's own environment to say"
    directory = variables.get("working_dir")
    if directory is not None and Path(str(directory)).resolve() != working_directory():
        return (
            f"the working directory {directory}, and this worker's is {working_directory()} (RETUNE_WORKING_DIR, "
            "for worker and `retune deploy` alike)"
        )
    return None


def _python(*arguments: str) -> list[str]:
    # Not from the current directory: people keep data there, and may have named it as a module is named.
    return [sys.executable, "-P", *arguments]


def _hooks(entry_point: str, configuration: ProcessJobConfiguration) -> PreparedWorkspaceManifest:
    """What Prefect's runner of hooks is told: it too loads the flow that was admitted, and asks nobody for another."""
    return PreparedWorkspaceManifest(
        working_directory=configuration.working_dir or working_directory(),
        runtime_entrypoint=entry_point,
        hook_command=_python(str(_workspace_runtime_bootstrap.__file__), "hook"),
        environment={name: value for name, value in configuration.env.items() if value is not None},
    )


def main() -> None:
    """Run `prefect worker start` with this kind of worker."""
    from prefect.cli import app  # noqa: PLC0415 - slow to import

    try:
        require_prefect_api()
    except ConfigError as error:
        sys.exit(f"error: {error}")
    # The flows' processes inherit it.
    keep_files_private(home_directory())
    pool = [] if {"--pool", "-p"} & set(sys.argv) else ["--pool", WORK_POOL]
    sys.argv = ["prefect", "worker", "start", *pool, "--type", _OWN_TYPE, *sys.argv[1:]]
    app()


if __name__ == "__main__":
    # Under its own name, so that it is one class however it is reached.
    from deployments.worker import main as start

    start()
