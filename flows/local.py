"""Running the pipeline in this process, against a Prefect server that may end right after it, or in the middle."""

import asyncio
import contextlib
import http.client
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.events.worker import EventsWorker
from prefect.exceptions import Abort
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.retrain import retrain
from retune.config import RetrainConfig
from retune.errors import ConfigError, PrefectGoneError, RunStoppedError
from retune.results.manifest import RunManifest

_FLUSH_TIMEOUT_SECONDS = 5.0
_PATIENCE = "RETUNE_PREFECT_PATIENCE_SECONDS"
_DEFAULT_PATIENCE_SECONDS = 300.0
_SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_UNTIL_SAID = 20.0
_SECONDS_TO_STOP = 5.0
_MOST_BEGINNINGS = 3
_log = logging.getLogger("retune.progress")


async def retrain_and_flush(config: RetrainConfig, api_url: str, password: str | None) -> RunManifest:
    """Run the pipeline; return when Prefect has its logs and the end of all its task runs.

    While Prefect's server is away the run continues as far as it can. A server that comes back finds it, or, where a
    request got lost, a new flow run resumes it. One that is away for RETUNE_PREFECT_PATIENCE_SECONDS (300) ends it.

    Args:
        config: The run's configuration.
        api_url: The Prefect API to use.
        password: Its password, as `name:password`; None for what Prefect's own settings say.

    Raises:
        RunStoppedError: Somebody cancelled the run in Prefect.
        PrefectGoneError: Prefect's server was away for too long.
        ConfigError: The variable holds no number of seconds.
        Exception: Whatever the flow raised.
    """
    prefect = _Prefect(api_url, _patience_seconds(), is_job_local=config.provider.is_embedded)
    # Not in the environment, where every process that this one starts would find it.
    with temporary_settings({PREFECT_API_URL: api_url, **({PREFECT_API_AUTH_STRING: password} if password else {})}):
        for _ in range(_MOST_BEGINNINGS):
            try:
                with prefect.needed():
                    return await _retrain(config)
            except httpx.TransportError:
                # A request that Prefect's client does not repeat fell into the time that the server was away.
                await prefect.wait_until_back()
                _log.warning("Prefect's server was away; a new flow run resumes this run.", extra={"user_facing": True})
        raise prefect.gone("was away again and again")


async def _retrain(config: RetrainConfig) -> RunManifest:
    try:
        state = await retrain(config, return_state=True)
    except Abort:
        await _flush(None)
        raise RunStoppedError(
            "The run was cancelled in Prefect, and its fine-tuning job with it.",
            hint="Running the same command again starts a new job.",
        ) from None
    await _flush(state.state_details.flow_run_id)
    manifest: RunManifest = await state.aresult()
    return manifest


class _Prefect:
    """Prefect's server, as it is heard of.

    Args:
        api_url: Its API.
        patience_seconds: How long it may be away.
        is_job_local: Whether the job ends with this command, and is resumed with it.
    """

    def __init__(self, api_url: str, patience_seconds: float, *, is_job_local: bool) -> None:
        self._api_url = api_url
        self._patience_seconds = patience_seconds
        self._is_job_local = is_job_local

    @contextlib.contextmanager
    def needed(self) -> Iterator[None]:
        """Stop what is done in the block once the server has been away for too long.

        Raises:
            PrefectGoneError: It was.
        """
        work, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert work is not None  # noqa: S101 - this is a coroutine
        is_gone, is_over = threading.Event(), threading.Event()

        def cancel() -> None:
            if not is_over.is_set():
                work.cancel()

        def watch() -> None:
            if not self._wait_until_silent(is_over):
                return
            is_gone.set()
            while not is_over.is_set():
                # Prefect would tell its server of the end, for minutes; the second time ends that, too.
                with contextlib.suppress(RuntimeError):  # The loop may have ended just now.
                    loop.call_soon_threadsafe(cancel)
                is_over.wait(_SECONDS_TO_STOP)

        # A thread, as SIGTERM is raised in whatever task runs at the moment, and would end that one alone.
        threading.Thread(target=watch, name="watch Prefect", daemon=True).start()
        try:
            yield
        except (asyncio.CancelledError, Exception):
            # Whatever becomes of work that is stopped, this is why it was.
            if not is_gone.is_set():
                raise
            while work.uncancel():
                pass
            raise self.gone(f"has not answered for {self._patience_seconds:g} s") from None
        finally:
            is_over.set()

    async def wait_until_back(self) -> None:
        """Return when the server answers.

        Raises:
            PrefectGoneError: It does not, for too long.
        """
        deadline = time.monotonic() + self._patience_seconds
        while not await asyncio.to_thread(self._answers):
            if time.monotonic() > deadline:
                raise self.gone(f"has not answered for {self._patience_seconds:g} s")
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)

    def gone(self, what: str) -> PrefectGoneError:
        """What to tell people."""
        job = (
            "the fine-tuning job is resumed with it"
            if self._is_job_local
            else "the fine-tuning job continues at the provider meanwhile, and is found and not paid twice"
        )
        return PrefectGoneError(
            f"The Prefect server at {self._api_url} {what}, so this run was stopped.",
            hint=f"Start it, or unset PREFECT_API_URL if it named it; then run the same command again: {job}. "
            f"How long a run waits for Prefect is for {_PATIENCE} to say.",
        )

    def _wait_until_silent(self, is_over: threading.Event) -> bool:
        heard, has_said = time.monotonic(), False
        while not is_over.wait(_SECONDS_BETWEEN_LOOKS):
            if self._answers():
                heard, has_said = time.monotonic(), False
                continue
            silence = time.monotonic() - heard
            if silence >= self._patience_seconds:
                return True
            if silence > _SECONDS_UNTIL_SAID and not has_said:
                has_said = True
                _log.warning(
                    "The Prefect server at %s does not answer. The run continues, and stops if that takes %g s.",
                    self._api_url,
                    self._patience_seconds,
                    extra={"user_facing": True},
                )
        return False

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self._api_url}/health", timeout=_FLUSH_TIMEOUT_SECONDS).close()  # noqa: S310 - Prefect's own setting
        except urllib.error.HTTPError as error:
            error.close()
        except (OSError, ValueError, http.client.HTTPException):
            return False
        return True


def _patience_seconds() -> float:
    text = os.environ.get(_PATIENCE) or str(_DEFAULT_PATIENCE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{_PATIENCE} must be a number of seconds above 0, not {text!r}.")
    return seconds


async def _flush(flow_run_id: UUID | None) -> None:
    # Both workers send in the background, and the server writes task runs from events, a moment later.
    for worker in (APILogWorker, EventsWorker):
        await asyncio.to_thread(worker.drain_all, timeout=_FLUSH_TIMEOUT_SECONDS)
    # What became of the run is said either way, also when Prefect's server has gone.
    with contextlib.suppress(httpx.HTTPError):
        await _wait_until_recorded(flow_run_id)


async def _wait_until_recorded(flow_run_id: UUID | None) -> None:
    deadline = time.monotonic() + _FLUSH_TIMEOUT_SECONDS
    async with get_client() as client:
        this_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id] if flow_run_id else []))
        while time.monotonic() < deadline:
            task_runs = await client.read_task_runs(flow_run_filter=this_run)
            if all(run.state and run.state.is_final() for run in task_runs):
                return
            await asyncio.sleep(0.1)
