"""Taking the steps of a flow one after the other: each is timed, and says in one line what came of it."""

import logging
import time
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from prefect import get_run_logger


class Outcome(Protocol):
    """What a step returns."""

    @property
    def summary(self) -> str:
        """One line for people, with the step's figures."""
        ...


Result = TypeVar("Result", bound=Outcome)


class Steps:
    """Takes the steps and keeps their durations.

    Each finished step is one line in the flow run's log; its record carries `step` and `seconds`, for whoever shows it
    elsewhere. It is the flow that says it, not the task: a step that was cached has something to say too.

    Attributes:
        durations_seconds: Wall time of each step by its name, in the order they were taken.
    """

    def __init__(self) -> None:
        self.durations_seconds: dict[str, float] = {}
        self._logger: logging.Logger | logging.LoggerAdapter[logging.Logger] = get_run_logger()

    async def take(self, name: str, step: Awaitable[Result]) -> Result:
        """Wait for one step.

        Args:
            name: What the step is called in logs and reports.
            step: A task call that was not awaited yet.
        """
        start = time.perf_counter()
        outcome = await step
        seconds = time.perf_counter() - start
        self.durations_seconds[name] = round(self.durations_seconds.get(name, 0.0) + seconds, 3)
        self._logger.info(
            "%s: %s", name, outcome.summary, extra={"step": name, "seconds": seconds, "summary": outcome.summary}
        )
        return outcome
