"""Telling how a step is getting on: on the terminal, and as a progress artifact in the Prefect UI."""

import asyncio
import contextlib
import logging
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.exceptions import PrefectException

PROGRESS_LOGGER = "retune.progress"
_SECONDS_BETWEEN_UPDATES = 2.0


class ProgressReport:
    """A progress artifact that follows a step while the block runs, and every advance at once for whoever listens.

    Listeners attach a handler to the logger `retune.progress`: each record carries `step` (which part of the pipeline),
    `done`, `total` (None where it isn't known), `unit`, and `figures` (a mapping to show beside the bar).

    Args:
        key: Key of the artifact: lower case letters, digits and dashes.
        step: Which part of the pipeline this is.
        description: What the artifact's reader should know.
        unit: What is counted, where it isn't plain from the step.
        after_seconds: A step that takes less leaves no artifact.
    """

    def __init__(self, *, key: str, step: str, description: str, unit: str = "", after_seconds: float = 0.0) -> None:
        self._key = key
        self._step = step
        self._description = description
        self._unit = unit
        self._after_seconds = after_seconds
        self._is_due = not after_seconds
        self._percent = 0.0
        self._published_percent: float | None = None
        self._artifact: UUID | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._logger = logging.getLogger(PROGRESS_LOGGER)
        # Prefect's log has the events themselves; these records are for whoever listens on purpose.
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False

    def advance(self, done: int, total: int | None, **figures: float) -> None:
        """Say that `done` of `total` are done; the artifact follows within two seconds. Any thread may say it."""
        self._percent = 100.0 * done / total if total else 0.0
        fields = {"step": self._step, "done": done, "total": total, "unit": self._unit, "figures": figures}
        self._logger.info("%s %d/%s", self._step, done, total, extra=fields)

    async def __aenter__(self) -> Self:
        self._publishing = asyncio.create_task(self._keep_publishing())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._publishing:
            self._publishing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._publishing
        if kind is None and self._is_due:
            await self._publish()

    async def _keep_publishing(self) -> None:
        await asyncio.sleep(self._after_seconds)
        self._is_due = True
        while True:
            await self._publish()
            await asyncio.sleep(_SECONDS_BETWEEN_UPDATES)

    async def _publish(self) -> None:
        percent = self._percent
        if percent == self._published_percent:
            return
        try:
            if self._artifact is None:
                self._artifact = await acreate_progress_artifact(
                    progress=percent, key=self._key, description=self._description
                )
            else:
                await aupdate_progress_artifact(self._artifact, progress=percent)
        except (httpx.HTTPError, PrefectException) as error:
            # The work continues while Prefect's server is away; only the progress artifact is late.
            get_run_logger().warning("The progress artifact could not be updated: %s", error)
        else:
            self._published_percent = percent
