"""The whole system as processes of this machine: PostgreSQL, Prefect with a worker, the fine-tuning server."""

import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from postgresql import PostgreSQL
from prefect_process import PrefectServer, Processes
from server_process import ServerProcess
from waiting import wait_for

_CHECKOUT = Path(__file__).parents[2]
_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}
_INTENTS = ("card", "refund", "login", "delivery")


@dataclass
class DeployedSystem:
    """What the tests have at hand.

    Attributes:
        data: The source that nightly, manual and watched runs train on.
        api_key: The fine-tuning server's key, which is to be found nowhere.
    """

    prefect: PrefectServer
    training: ServerProcess
    processes: Processes
    data: Path
    api_key: str
    registration: str

    @property
    def client(self) -> OpenAI:
        """A client of the fine-tuning server."""
        return self.training.client(self.api_key)

    def jobs(self) -> list[FineTuningJob]:
        """All jobs of the fine-tuning server, newest first."""
        return self.client.fine_tuning.jobs.list(limit=100).data

    def jobs_of(self, flow_run_id: str) -> list[FineTuningJob]:
        """The jobs that train for the intent of a flow run."""
        run_key = self.prefect.run(flow_run_id)["labels"].get("retune.run_key")
        return [job for job in self.jobs() if job.metadata and run_key in job.metadata.values()]

    def wait_for_training(self, flow_run_id: str) -> FineTuningJob:
        """Wait until the job of a run trains."""

        def look() -> FineTuningJob | None:
            return next((job for job in self.jobs_of(flow_run_id) if job.status == "running"), None)

        return wait_for(look, f"the training of {flow_run_id}")

    def process_of(self, flow_run_id: str) -> list[int]:
        """Ids of the processes that run a flow run, and not those of its worker."""
        names = {f"PREFECT__FLOW_RUN_ID={name}" for name in (flow_run_id, flow_run_id.replace("-", ""))}
        return [pid for pid, variables in self.processes.found().items() if names & variables]


def write_data(path: Path, n_examples: int) -> Path:
    """A table of messages and what they are about, which is learnt from few."""
    rows = [
        f"message {number} about my {intent},{intent}"
        for number in range(n_examples)
        for intent in [_INTENTS[number % 4]]
    ]
    path.write_text("\n".join(["message,answer", *rows, ""]))
    return path


def config_of(data: Path, **training: Any) -> dict[str, Any]:
    """The parameter `config` of a run on such a table."""
    return {
        "data": {"source": str(data), "user_column": "message", "assistant_column": "answer"},
        "training": {"hyperparameters": {"n_epochs": 2}, "poll_interval_seconds": 0.5, **training},
    }


@contextmanager
def deployed_system(directory: Path) -> Iterator[DeployedSystem]:
    """Bring everything up and register the deployments; end all of it afterwards, whatever happens."""
    home = directory / "retune-home"
    processes = Processes(_made(directory / "processes"), {**_QUIET, "RETUNE_HOME": str(home)})
    api_key, password = (secrets.token_urlsafe(16) for _ in range(2))
    data = write_data(directory / "tickets.csv", 60)
    with ExitStack() as stack:
        # Not below `directory`, which PostgreSQL's own user may not enter.
        database = PostgreSQL(Path(stack.enter_context(TemporaryDirectory(prefix="retune-")))).create()
        stack.callback(database.stop)
        stack.callback(processes.end_all)
        training = _training_server(directory / "training", database, api_key, stack)
        url = database.new_database().set(drivername="postgresql+asyncpg")
        prefect = PrefectServer(processes, url.render_as_string(hide_password=False), f"admin:{password}").start()
        processes.environment |= prefect.client_variables
        registration = _register(processes, directory, data)
        _hold_schedules(prefect)
        _start_worker(processes, training, api_key)
        yield DeployedSystem(prefect, training, processes, data, api_key, registration)


def _training_server(directory: Path, database: PostgreSQL, api_key: str, stack: ExitStack) -> ServerProcess:
    url = database.new_database().render_as_string(hide_password=False)
    server = ServerProcess(
        _made(directory), environment={"RETUNE_SERVER_API_KEY": api_key, "RETUNE_SERVER_DATABASE_URL": url}
    )
    server.start()
    stack.callback(server.end, signal.SIGTERM)
    return server


def _register(processes: Processes, directory: Path, data: Path) -> str:
    settings = directory / "retrain.yaml"
    settings.write_text(yaml.safe_dump(config_of(data)))
    return processes.run(
        *(sys.executable, "-m", "deployments.register"),
        PYTHONPATH=str(_CHECKOUT),
        RETUNE_RETRAIN_CONFIG=str(settings),
    )


def _hold_schedules(prefect: PrefectServer) -> None:
    """Whatever the time of day, nothing but what a test starts is to run."""
    for deployment in prefect.find("deployments"):
        for schedule in deployment["schedules"]:
            address = f"/deployments/{deployment['id']}/schedules/{schedule['id']}"
            prefect.request("PATCH", address, {"active": False})


def _start_worker(processes: Processes, training: ServerProcess, api_key: str) -> None:
    processes.start(
        "worker",
        *(sys.executable, "-P", "-m", "deployments.worker", "--name", "system-test"),
        OPENAI_BASE_URL=training.base_url,
        OPENAI_API_KEY=api_key,
        PREFECT_WORKER_QUERY_SECONDS="1",
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30",
        PREFECT_RESULTS_LOCAL_STORAGE_PATH=str(Path(processes.environment["RETUNE_HOME"]) / "results"),
    )


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory
