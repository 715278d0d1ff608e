"""`retune up`: the whole system on one machine, without Docker, for as long as the command runs."""

import fcntl
import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Self

import typer

from retune.cli.prefect_access import new_link, prefect_password
from retune.cli.terminal import err, print_line, print_quietly
from retune.cli.up_checks import check_wishes, is_answered
from retune.cli.up_children import Child, Keeper, Program
from retune.cli.up_flow_runs import PrefectApi
from retune.cli.up_programs import LOOPBACK, Addresses, Wishes, programs, register_program
from retune.errors import ServerError
from retune.extras import require
from retune.private_files import home_directory, make_private_directory

_SECONDS_BETWEEN_LOOKS = 0.5
_KIND_WIDTH = 13

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
    wishes = Wishes(
        host=host,
        port=port,
        server_port=server_port,
        database_url=database_url or os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL"),
        base_url=_provider(base_url or None, host, server_port),
        limit=limit,
        has_worker=worker,
    )
    require("`retune up`", *("pipeline",) if wishes.base_url else ("pipeline", "server"))
    home = home_directory().absolute()
    make_private_directory(home / "logs")
    addresses = Addresses.of(wishes)
    with _alone(home, addresses.ui), _Stopping() as stopping, Keeper() as keeper:
        check_wishes(wishes)
        _System(wishes, addresses, home, keeper, stopping, verbose).run()
    print_quietly("Stopped. Everything is kept; `retune up` goes on with it.")


def _provider(base_url: str | None, host: str, server_port: int) -> str | None:
    """Where to train; None for the server here, also where an earlier one's address was left in the environment."""
    if base_url is not None:
        return base_url
    named = os.environ.get("OPENAI_BASE_URL") or None
    here = {f"http://{name}:{server_port}/v1" for name in (*LOOPBACK, f"[{host}]", host)}
    if named and named.rstrip("/") in here and not is_answered(named):
        return None
    return named


@contextmanager
def _alone(home: Path, ui: str) -> Iterator[None]:
    with (home / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ServerError(
                f"Retune is up already for {home}: {lock.read().strip()}.",
                hint="Use that one, stop it with Ctrl-C, or set RETUNE_HOME to another directory.",
            ) from None
        lock.truncate(0)
        lock.write(ui)
        lock.flush()
        yield


class _Stopping:
    """Whether somebody asked to stop: Ctrl-C, SIGTERM, SIGHUP; a second time means at once."""

    def __init__(self) -> None:
        self.times = 0
        # What is ignored already, as by nohup, stays so.
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._signals = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]

    def __enter__(self) -> Self:
        for number in self._signals:
            signal.signal(number, self._count)
        return self

    def __exit__(self, *_exception: object) -> None:
        for number in self._signals:
            signal.signal(number, signal.SIG_DFL)

    def _count(self, _number: int, _frame: FrameType | None) -> None:
        self.times += 1


class _StoppedError(Exception):
    """Somebody asked to stop before all was there."""


@dataclass
class _System:
    wishes: Wishes
    addresses: Addresses
    home: Path
    keeper: Keeper
    stopping: _Stopping
    verbose: bool

    def run(self) -> None:
        """Start everything, look after it until somebody asks to stop, and stop it: the worker first."""
        plan = programs(self.wishes, self.addresses, self.home)
        with ExitStack() as stack:
            try:
                children = [self._start(program, stack) for program in plan.servers]
                for child in children:
                    self._wait(child)
                self._register()
                if plan.worker is not None:
                    worker = self._start(plan.worker, stack)
                    self._wait(worker)
                    children.append(worker)
                self._tell()
                while not self.stopping.times:
                    for child in children:
                        child.look_after(print_quietly)
                        self._show_news(child)
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
            except _StoppedError:
                pass
            print_quietly("Stopping; Ctrl-C again stops at once.")

    def _start(self, program: Program, stack: ExitStack) -> Child:
        child = Child(program, self.home / "logs", self.keeper, self._give_back)
        # Left in reverse order: the servers end after the worker that needs them.
        stack.callback(lambda: child.stop(lambda: self.stopping.times > 1))
        child.start()
        return child

    def _wait(self, child: Child) -> None:
        with err.status(f"waiting for {child.program.name}"):
            child.wait_until_ready(self._stop_if_asked)
        print_line(f"✓ {child.program.name:<20} {child.program.where}")

    def _stop_if_asked(self) -> None:
        if self.stopping.times:
            raise _StoppedError

    def _register(self) -> None:
        child = Child(register_program(self.wishes, self.addresses, self.home), self.home / "logs", self.keeper)
        with err.status("telling Prefect of the deployments"):
            lines = child.run_to_end(self._stop_if_asked)
        for line in lines:
            # In two columns, as they were printed.
            kind, text = line[:_KIND_WIDTH].strip(), line[_KIND_WIDTH:].strip()
            print_line(f"✓ {kind:<20} {text}")

    def _give_back(self, flow_runs: Collection[str]) -> None:
        """Their processes have ended, and without a word Prefect would take them for running for minutes."""
        api = PrefectApi(self.addresses.api, self._password)
        try:
            given = api.give_back(flow_runs, "Its process was ended with `retune up`; the next worker goes on with it.")
        except OSError as error:
            print_quietly(f"{len(flow_runs)} runs under way are taken up late: Prefect could not be told ({error}).")
        else:
            if given:
                runs, them = ("run", "it") if given == 1 else ("runs", "them")
                print_quietly(f"{given} {runs} under way: the next worker goes on with {them}.")

    def _show_news(self, child: Child) -> None:
        if self.verbose:
            for line in child.news():
                print_quietly(f"{child.program.name}: {line}")

    def _tell(self) -> None:
        print_line("")
        print_line(f"watch        {new_link(self.addresses.ui, self._password)}")
        print_line("             works once, within an hour; for another link: retune prefect link")
        if self.addresses.server:
            print_line(f"models       {self.addresses.server}   (OPENAI_BASE_URL for any OpenAI client)")
        print_line('start a run  eval "$(retune prefect env)" && prefect deployment run retrain/manual')
        print_line("stop         Ctrl-C")

    @property
    def _password(self) -> str:
        return prefect_password(self.home / "prefect")
