"""Finding processes by a mark in their environment: also those whose parent has died, in groups of their own.

A worker starts each flow run in a process group of its own, which no signal to the worker's group reaches. The mark is
inherited by all of them. It is read from /proc, so that this finds nothing where there is none, as on macOS.
"""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

MARK = "RETUNE_UP_MARK"
_FLOW_RUN_ID = "PREFECT__FLOW_RUN_ID"
_MOST_ROUNDS = 50


def marked_processes(mark: str) -> dict[int, Mapping[str, str]]:
    """All processes that were begun with this mark: their ids, and the variables that they were begun with."""
    found: dict[int, Mapping[str, str]] = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            variables = path.read_bytes().decode("utf-8", "replace").split("\0")
            if f"{MARK}={mark}" in variables:
                found[int(path.parent.name)] = dict(one.split("=", 1) for one in variables if "=" in one)
    return found


def flow_runs_of(mark: str) -> set[str]:
    """Ids of the flow runs that marked processes work on."""
    return {run for variables in marked_processes(mark).values() if (run := variables.get(_FLOW_RUN_ID))}


def end_marked(mark: str) -> None:
    """Kill all that is left with this mark, and what those start meanwhile."""
    for _ in range(_MOST_ROUNDS):
        processes = marked_processes(mark)
        if not processes:
            return
        for process in processes:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)
