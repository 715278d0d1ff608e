"""One process at a time for a run; a deployed flow run waits for its turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from prefect import get_run_logger
from prefect.runtime import deployment

from retune.errors import RunBusyError
from retune.run import Run, exclusive
from tasks.cancelling import leave_if_cancelled

_SECONDS_BETWEEN_TRIES = 10.0


@asynccontextmanager
async def run_to_itself(run: Run) -> AsyncIterator[None]:
    """Hold the run's directory while the block runs.

    A flow run of a deployment waits for the process that has it, and then finds what that one did: two schedules may
    mean the same run, and one that Prefect took for dead may still be alive. Elsewhere there is somebody to be told.

    Raises:
        RunBusyError: Another process is working on the same run, and this is no run of a deployment.
        RunDirectoryError: Somebody removed files of it.
        CancelledRun: The flow run was cancelled while it waited.
    """
    with ExitStack() as stack:
        has_told = False
        while True:
            try:
                stack.enter_context(exclusive(run))
            except RunBusyError as busy:
                if not has_told and deployment.id is None:
                    raise
                if not has_told:
                    get_run_logger().info("%s This flow run goes on when it has ended.", busy.message)
                    has_told = True
                await asyncio.sleep(_SECONDS_BETWEEN_TRIES)
                await leave_if_cancelled()
            else:
                break
        yield
