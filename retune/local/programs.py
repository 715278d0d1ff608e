"""What `retune up` runs: command lines and environments."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

from retune.choices import OWN_SERVER_VARIABLE
from retune.local.managed_process import Program
from retune.local.prefect_access import PASSWORD_VARIABLE, is_server_of, prefect_password
from retune.local.prefect_api import PrefectApi
from retune.local.prefect_server import QUIET, local_address
from retune.processes.process import answers, module_command, own_environment

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_WORK_POOL = "retune"
_HEARTBEAT_SECONDS = "30"
# Secrets that flows have no use for.
_OF_SERVERS = (
    PASSWORD_VARIABLE,
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "RETUNE_SERVER_DATABASE_URL",
    "RETUNE_SERVER_WEBHOOK_SECRET",
)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the command line asks for.

    Attributes:
        host: Address to listen on.
        port: Port of Prefect's UI and API.
        server_port: Port of the fine-tuning server.
        database_url: Prefect's database; None for a SQLite file.
        base_url: The provider; None for the fine-tuning server of this system.
        limit: Flow runs at once.
        has_worker: Whether flows run here.
    """

    host: str
    port: int
    server_port: int
    database_url: str | None
    base_url: str | None
    limit: int
    has_worker: bool

    @property
    def has_server(self) -> bool:
        """Whether a fine-tuning server is part of the system."""
        return self.base_url is None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers answer, as seen from this machine.

    Attributes:
        ui: Prefect's UI.
        api: Prefect's API.
        server: The fine-tuning server's API; None where there is none.
    """

    ui: str
    api: str
    server: str | None

    @classmethod
    def of(cls, options: UpOptions) -> Self:
        """The addresses of a system with these options."""
        ui = local_address(options.host, options.port)
        server = local_address(options.host, options.server_port)
        return cls(ui, f"{ui}/api", f"{server}/v1" if options.has_server else None)


@dataclass(frozen=True, slots=True)
class Plan:
    """What `retune up` runs.

    Attributes:
        servers: Started at the same time.
        worker: Started when the servers are ready and the deployments are registered; None for none.
    """

    servers: list[Program]
    worker: Program | None


def programs(options: UpOptions, addresses: Addresses, home: Path) -> Plan:
    """The programs that run as long as the command does."""
    servers = [_prefect_server(options, addresses, home)]
    if addresses.server is not None:
        servers.append(_fine_tuning_server(options, addresses.server, home))
    return Plan(servers, _worker(options, addresses, home) if options.has_worker else None)


def _prefect_server(options: UpOptions, addresses: Addresses, home: Path) -> Program:
    directory = home / "prefect"
    variables = {
        PASSWORD_VARIABLE: prefect_password(directory),
        # In memory, as is the default, places in concurrency limits would be lost for good when the server ends.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    if options.database_url:
        variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = options.database_url
    return Program(
        name="prefect server",
        where=addresses.ui,
        command=module_command(
            "retune.local.prefect_serving",
            *("--home", str(directory), "--host", options.host, "--port", str(options.port)),
        ),
        # Whoever starts a server means this one, and not the one of their profile.
        environment=_environment(variables, without=("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "OPENAI_API_KEY")),
        is_ready=lambda: is_server_of(directory, addresses.ui),
    )


def _fine_tuning_server(options: UpOptions, address: str, home: Path) -> Program:
    flags = ("--host", options.host, "--port", str(options.server_port), "--data-dir", str(home / "server"))
    return Program(
        name="fine-tuning server",
        where=address,
        command=module_command("retune.server", *flags),
        environment=_environment({}, without=("OPENAI_API_KEY", PASSWORD_VARIABLE, "PREFECT_API_AUTH_STRING")),
        is_ready=lambda: answers(f"{address.removesuffix('/v1')}/health"),
    )


def _worker(options: UpOptions, addresses: Addresses, home: Path) -> Program:
    # A name that no earlier worker had, which Prefect may still take for alive.
    name = f"retune up {uuid4().hex[:8]}"
    flags = ("--limit", str(options.limit), "--name", name)
    api = PrefectApi(addresses.api, prefect_password(home / "prefect"))
    return Program(
        name="worker",
        where=f"work pool {_WORK_POOL}, {options.limit} flow runs at once",
        command=module_command("deployments.worker", *flags),
        environment=_client_environment(options, addresses, home),
        is_ready=lambda: api.has_worker(_WORK_POOL, name),
        # It ends its flow runs at once and waits for none; they are rescheduled in Prefect.
        stop_seconds=3.0,
    )


def register_program(options: UpOptions, addresses: Addresses, home: Path) -> Program:
    """The program that registers the deployments, and ends."""
    return Program(
        name="deployments",
        where="",
        command=module_command("deployments.register"),
        environment=_client_environment(options, addresses, home),
    )


def _client_environment(options: UpOptions, addresses: Addresses, home: Path) -> dict[str, str]:
    variables = {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": addresses.api,
        "PREFECT_API_AUTH_STRING": prefect_password(home / "prefect"),
        "PREFECT_UI_URL": os.environ.get("PREFECT_UI_URL") or addresses.ui,
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(home / "results"),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": _HEARTBEAT_SECONDS,
        "RETUNE_HOME": str(home),
        "OPENAI_BASE_URL": options.base_url or addresses.server or "",
    }
    if addresses.server is None:
        return _environment(variables, without=(*_OF_SERVERS, OWN_SERVER_VARIABLE))
    # So that a run on data that `retune run` has trained on is found, and not made again.
    variables[OWN_SERVER_VARIABLE] = addresses.server
    # A key for a paid provider is not for the server here, which has one of its own or none.
    if key := os.environ.get("RETUNE_SERVER_API_KEY"):
        variables["OPENAI_API_KEY"] = key
        return _environment(variables, without=_OF_SERVERS)
    return _environment(variables, without=(*_OF_SERVERS, "OPENAI_API_KEY"))


def _environment(variables: Mapping[str, str], *, without: tuple[str, ...] = ()) -> dict[str, str]:
    return own_environment({**QUIET, "PYTHONUNBUFFERED": "1", **variables}, without=without)
