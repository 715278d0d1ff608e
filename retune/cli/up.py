"""`retune up`: the whole system on one machine, without Docker, for as long as the command runs."""

import os
import signal
from types import FrameType
from typing import Annotated, Self

import typer
from rich.status import Status

from retune.cli.terminal import err, print_line, print_quietly
from retune.extras import require
from retune.local.prefect_access import new_link, prefect_password
from retune.local.preflight import is_answered, preflight
from retune.local.programs import LOOPBACK, Addresses, UpOptions
from retune.local.system import System, only_one
from retune.private_files import home_directory, make_private_directory
from retune.processes.death_watch import Watchdog

Host = Annotated[str, typer.Option(help="Address to listen on. Any but loopback needs keys; see docs/deploying.md.")]
Port = Annotated[int, typer.Option(help="Port of Prefect's UI and API.")]
ServerPort = Annotated[int, typer.Option(help="Port of the fine-tuning server.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="PostgreSQL database for Prefect, postgresql+asyncpg://…; default: a SQLite file. Prefer the variable "
        "PREFECT_SERVER_DATABASE_CONNECTION_URL: others on this machine can see a flag, password and all.",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Train there, with OPENAI_API_KEY, and start no server; default: OPENAI_BASE_URL, else the server here.",
    ),
]
Limit = Annotated[int, typer.Option(min=1, help="Flow runs at once.")]
HasWorker = Annotated[bool, typer.Option("--worker/--no-worker", help="Run the flows here.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show here what the programs log, which is in .retune/logs.")]


def up(
    *,
    host: Host = "127.0.0.1",
    port: Port = 4200,
    server_port: ServerPort = 8123,
    database_url: DatabaseUrl = None,
    base_url: BaseUrl = None,
    limit: Limit = 2,
    worker: HasWorker = True,
    verbose: Verbose = False,
) -> None:
    """Start Prefect, a fine-tuning server, the deployments and a worker; Ctrl-C stops all of it.

    Relative paths of data mean the current directory. Everything is kept under .retune, and found again next time.
    """
    options = UpOptions(
        host=host,
        port=port,
        server_port=server_port,
        database_url=database_url or os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL"),
        base_url=_provider(base_url or None, host, server_port),
        limit=limit,
        has_worker=worker,
    )
    require("`retune up`", *("pipeline",) if options.base_url else ("pipeline", "server"))
    home = home_directory().absolute()
    make_private_directory(home / "logs")
    addresses = Addresses.of(options)
    with only_one(home, addresses.ui), _StopSignals() as signals, Watchdog() as watchdog:
        preflight(options)
        system = System(options, addresses, home, watchdog, _View(), lambda: signals.count, verbose)
        system.run(lambda: _show_addresses(addresses, prefect_password(home / "prefect")))
    print_quietly("Stopped. Everything is kept; the next `retune up` resumes it.")


def _provider(base_url: str | None, host: str, server_port: int) -> str | None:
    """Where to train; None for the server here, also where an earlier one's address was left in the environment."""
    if base_url is not None:
        return base_url
    named = os.environ.get("OPENAI_BASE_URL") or None
    here = {f"http://{name}:{server_port}/v1" for name in (*LOOPBACK, f"[{host}]", host)}
    if named and named.rstrip("/") in here and not is_answered(named):
        return None
    return named


class _StopSignals:
    """How often somebody asked to stop: by Ctrl-C, SIGTERM or SIGHUP. A second time means at once."""

    def __init__(self) -> None:
        self.count = 0
        # What is ignored already, as by nohup, stays so.
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._signals = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]

    def __enter__(self) -> Self:
        for number in self._signals:
            signal.signal(number, self._add)
        return self

    def __exit__(self, *_exception: object) -> None:
        for number in self._signals:
            signal.signal(number, signal.SIG_DFL)

    def _add(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


class _View:
    def waiting(self, what: str) -> Status:
        return err.status(what)

    def show_ready(self, name: str, text: str) -> None:
        print_line(f"✓ {name:<20} {text}")

    def say(self, text: str) -> None:
        print_quietly(text)


def _show_addresses(addresses: Addresses, password: str) -> None:
    print_line("")
    print_line(f"watch        {new_link(addresses.ui, password)}")
    print_line("             works once, within an hour; for another link: retune prefect link")
    if addresses.server:
        print_line(f"models       {addresses.server}   (OPENAI_BASE_URL for any OpenAI client)")
    print_line('start a run  eval "$(retune prefect env)" && prefect deployment run retrain/manual')
    print_line("stop         Ctrl-C")
