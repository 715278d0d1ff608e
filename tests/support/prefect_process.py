"""Prefect as processes: a server on PostgreSQL with a password, a worker, and what tests ask of its API."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from waiting import DEADLINE_SECONDS, wait_for

CHECKOUT = Path(__file__).parents[2]
_MARK = "RETUNE_TEST_PROCESSES"
_OURS = ("OPENAI_", "RETUNE_", "PREFECT_")
# One for all clients: each would read the machine's certificates anew, which takes longer than the request.
TLS = ssl.create_default_context()


@dataclass
class Processes:
    """Processes that all end with the last of them, and with them everything that they started.

    Attributes:
        directory: Where each writes its log.
        environment: What every one of them is told.
    """

    directory: Path
    environment: dict[str, str]
    mark: str = field(default_factory=lambda: uuid4().hex)
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of a process: nothing of the person who runs the tests, and the mark by which it is found."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return {**inherited, **self.environment, _MARK: self.mark, **more}

    def start(self, name: str, *command: str | Path, **variables: str) -> subprocess.Popen[bytes]:
        """Start a process that goes on; it is ended by `end_all`."""
        with self.log_file(name).open("ab") as log:
            process = subprocess.Popen(
                command, env=self.variables(**variables), cwd=self.directory, stdout=log, stderr=log
            )
        self._started.append(process)
        return process

    def run(self, *command: str | Path, **variables: str) -> str:
        """Run a command to its end; what it said."""
        done = subprocess.run(
            command,
            env=self.variables(**variables),
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def log(self, name: str) -> str:
        """All that a process has said."""
        return self.log_file(name).read_text(errors="replace")

    def logs(self) -> str:
        """All that all of them have said."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))

    def found(self) -> dict[int, set[str]]:
        """All processes that run, with those that they started: ids, and with what variables they began."""
        processes = {}
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                processes[int(path.parent.name)] = set(path.read_text(errors="replace").split("\0"))
        return {pid: variables for pid, variables in processes.items() if f"{_MARK}={self.mark}" in variables}

    def end_all(self) -> None:
        """End everything at once: nothing of it is to be used again."""

        def all_have_ended() -> bool:
            for pid in self.found():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self._started:
                process.poll()
            return not self.found()

        wait_for(all_have_ended, "the end of all processes")
        for process in self._started:
            process.wait(DEADLINE_SECONDS)

    def log_file(self, name: str) -> Path:
        """Where a process writes."""
        return self.directory / f"{name}.log"


@dataclass
class PrefectServer:
    """A Prefect server behind the guard, on a free port of this machine.

    Attributes:
        database_url: PostgreSQL, as Prefect takes it.
        auth_string: User and password of the API and of the UI.
    """

    processes: Processes
    database_url: str
    auth_string: str
    url: str = ""
    _csrf: dict[str, str] = field(default_factory=dict)

    def start(self) -> "PrefectServer":
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        process = self.processes.start(
            "prefect-server",
            *(sys.executable, "-P", "-m", "retune.local.prefect_serving", "--home", self.processes.directory),
            *("--port", str(port)),
            PREFECT_SERVER_DATABASE_CONNECTION_URL=self.database_url,
            PREFECT_SERVER_API_AUTH_STRING=self.auth_string,
            # A run that is due in seconds is to be put on the list at once.
            PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS="2",
        )

        def is_up() -> bool:
            try:
                return httpx.get(f"{self.url}/api/health", verify=TLS).is_success
            except httpx.TransportError:
                return False

        wait_for(is_up, "the Prefect server", process=process, log=self.processes.log_file("prefect-server"))
        return self

    @property
    def client_variables(self) -> dict[str, str]:
        """What a client is told."""
        return {"PREFECT_API_URL": f"{self.url}/api", "PREFECT_API_AUTH_STRING": self.auth_string}

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request of the API, and its answer."""
        user, _, password = self.auth_string.partition(":")
        with httpx.Client(base_url=f"{self.url}/api", auth=(user, password), timeout=60, verify=TLS) as client:
            if method != "GET":
                if not self._csrf:
                    name = uuid4().hex
                    token = client.get("/csrf-token", params={"client": name}).json()["token"]
                    self._csrf = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": name}
                client.headers.update(self._csrf)
            answer = client.request(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def find(self, kind: str, **filters: Any) -> list[dict[str, Any]]:
        """Objects of a kind such as `flow_runs`."""
        found = self.request("POST", f"/{kind}/filter", filters)
        assert isinstance(found, list)
        return found

    def deployment(self, name: str) -> dict[str, Any]:
        """A deployment by flow/name."""
        return dict(self.request("GET", f"/deployments/name/{name}"))

    def runs_of(self, deployment: str) -> list[dict[str, Any]]:
        """Flow runs of a deployment, newest first, without those that a schedule has in store."""
        wanted = {"deployments": {"id": {"any_": [self.deployment(deployment)["id"]]}}}
        runs = self.find("flow_runs", **wanted, sort="START_TIME_DESC")
        return [run for run in runs if run["state_type"] != "SCHEDULED" or not run["auto_scheduled"]]

    def start_run(self, deployment: str, parameters: dict[str, Any] | None = None) -> str:
        """Start a run now; its id."""
        body = {"parameters": parameters or {}, "state": {"type": "SCHEDULED", "name": "Scheduled"}}
        return str(
            self.request("POST", f"/deployments/{self.deployment(deployment)['id']}/create_flow_run", body)["id"]
        )

    def run(self, flow_run_id: str) -> dict[str, Any]:
        """A flow run."""
        return dict(self.request("GET", f"/flow_runs/{flow_run_id}"))

    def wait_for_state(self, flow_run_id: str, *states: str) -> dict[str, Any]:
        """Wait until a run is in one of these states, by name; fails at once where it ended in another."""

        def look() -> dict[str, Any] | None:
            run = self.run(flow_run_id)
            is_over = run["state_type"] in {"COMPLETED", "FAILED", "CANCELLED"} and run["state_name"] not in states
            assert not is_over, f"{run['name']}: {run['state']}\n{self.log_of(flow_run_id)}"
            return run if run["state_name"] in states else None

        try:
            # An answer of Prefect's costs its server tens of milliseconds.
            return wait_for(look, f"{states} of {flow_run_id}", pause_seconds=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.run(flow_run_id)['state']}") from None

    def log_of(self, flow_run_id: str) -> str:
        """What a run wrote into its log."""
        lines = self.find("logs", logs={"flow_run_id": {"any_": [flow_run_id]}}, sort="TIMESTAMP_ASC")
        return "\n".join(line["message"] for line in lines)

    def events(self, prefix: str) -> list[dict[str, Any]]:
        """Events whose name begins so, newest first."""
        answer = self.request("POST", "/events/filter", {"filter": {"event": {"prefix": [prefix]}}, "limit": 50})
        return list(answer["events"])
