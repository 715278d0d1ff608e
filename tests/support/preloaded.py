"""Programs of Retune that start quickly: forked from a process that has imported the libraries of others already.

Imports take most of the processor time of a start: 1.2 of 1.5 s for the server, 3 s for `retune run`. A program that is
started here runs the same module with the same arguments, environment and files as `python -m MODULE`, in a process of
its own, and imports all of Retune itself. Tests of the start, or of a process's memory, start a new interpreter, and so
does the server that most tests share.
"""

import atexit
import gc
import logging
import multiprocessing
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from multiprocessing import reduction
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

_LIBRARIES = [
    "aiosqlite",
    "alembic.autogenerate",
    "alembic.command",
    "alembic.config",
    "anyio",
    "apprise",
    "asyncpg",
    "coolname",
    "fastapi.openapi.models",
    "fastapi.routing",
    "fsspec",
    "httptools",
    "httpx",
    "humanize",
    "jinja2",
    "jsonschema",
    "multipart",
    "numpy",
    "openai.resources",
    "openai.resources.beta",
    "openai.resources.chat",
    "openai.resources.fine_tuning",
    "openai.types",
    "openai.types.fine_tuning.jobs",
    "opentelemetry.trace",
    "pandas",
    "plotly.graph_objects",
    "plotly.offline",
    "plotly.subplots",
    "prefect.artifacts",
    "prefect.automations",
    "prefect.client.orchestration",
    "prefect.concurrency.asyncio",
    "prefect.deployments",
    "prefect.events",
    "prefect.events.schemas.automations",
    "prefect.flow_engine",
    "prefect.flow_runs",
    "prefect.runner",
    "prefect.server.api.server",
    "prefect.task_engine",
    "prefect.utilities.engine",
    "prometheus_client",
    "pyarrow",
    "pyarrow.compute",
    "pyarrow.csv",
    "pyarrow.parquet",
    "pydantic_settings",
    "rich.console",
    "rich.live",
    "rich.logging",
    "rich.progress",
    "rich.status",
    "rich.table",
    "scipy.stats",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.ext.asyncio",
    "standardwebhooks",
    "starlette.testclient",
    "typer.core",
    "uvicorn.protocols.http.httptools_impl",
    "websockets",
    "yaml",
]

_OPTIONS = {"cwd", "env", "stderr", "stdin", "stdout", "text", "umask"}
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_LIBRARIES)


class _Descriptor:
    """A file descriptor that a process inherits, whatever its number is there."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _detached, (reduction.DupFd(self.number),)


def _detached(descriptor: Any) -> int:
    return int(descriptor.detach())


class PreloadedProcess(subprocess.Popen[Any]):
    """As `subprocess.Popen([sys.executable, "-m", module, *arguments], **options)`, but forked.

    Popen's own code keeps the pipes and waits; only how a process comes into being and ends is replaced.

    Args:
        module: The module that runs.
        arguments: Its arguments.
        options: Those of Popen: env, which is required, cwd, umask, text, and the three streams.
    """

    def __init__(self, module: str, arguments: Iterable[str | Path] = (), **options: Any) -> None:
        if unknown := set(options) - _OPTIONS:
            raise TypeError(f"not an option of a preloaded process: {', '.join(sorted(unknown))}")
        self._forked: ForkServerProcess | None = None
        super().__init__([module, *map(str, arguments)], **options)

    # As CPython 3.11 to 3.14 call these.
    def _execute_child(self, command: list[str], *more: Any) -> None:
        pipes = more[9:15]
        given = (pipes[0], pipes[3], pipes[5])
        streams = [_Descriptor(number if own == -1 else own) for number, own in enumerate(given)]
        setting = _Setting(command, dict(more[5]), more[4], more[19])
        self._forked = _context.Process(target=_run, args=(setting, streams))
        self._forked.start()
        assert self._forked.pid
        self.pid = self._forked.pid
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]  # not in the type stubs

    def _internal_poll(self, *_more: Any, **_options: Any) -> int | None:
        assert self._forked
        if self.returncode is None:
            self.returncode = self._forked.exitcode
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        assert self._forked
        self._forked.join(timeout)
        if self._internal_poll() is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return int(self.returncode)


def run_preloaded(
    module: str, arguments: Iterable[str | Path] = (), *, stdin: str = "", timeout: float, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """As `subprocess.run`, forked; it captures what is printed, as text."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with PreloadedProcess(module, arguments, **pipes, text=True, **options) as process:
        try:
            out, err = process.communicate(stdin, timeout)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@dataclass(frozen=True)
class _Setting:
    command: list[str]
    environment: dict[str, str]
    directory: str | Path | None
    umask: int


def _run(setting: _Setting, streams: list[int]) -> None:
    # Else Python, looking for cycles, would copy all that was imported.
    gc.freeze()
    os.environ.clear()
    os.environ.update(setting.environment)
    if setting.umask >= 0:
        os.umask(setting.umask)
    if setting.directory:
        os.chdir(setting.directory)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    sys.argv = setting.command
    # Prefect sets up logging when it is imported, and does so again where a program uses it.
    logging.getLogger().handlers.clear()
    logging.getLogger().setLevel(logging.WARNING)
    sys.meta_path.insert(0, _PrefectSettings())
    try:
        runpy.run_module(setting.command[0], run_name="__main__", alter_sys=True)
    finally:
        # multiprocessing ends a process without them, and waits for threads after them.
        threading._shutdown()  # type: ignore[attr-defined]  # not in the type stubs
        atexit._run_exitfuncs()


class _PrefectSettings(MetaPathFinder):
    """Has Prefect read its settings where a new interpreter would: when the first module that uses it is imported."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name in {"flows", "tasks", "deployments", "prefect.__main__"}:
            # Not in the tests' own process, which may do without.
            from prefect.context import refresh_global_settings_context
            from prefect.logging.configuration import setup_logging

            sys.meta_path.remove(self)
            refresh_global_settings_context()
            setup_logging(incremental=False)
