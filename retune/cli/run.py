"""`retune run`: the whole pipeline, from a table to a judged model, with nothing set up beforehand."""

import logging
import os
import signal
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from retune.cli.check_view import ReadingBar
from retune.cli.run_view import RunView, show_result
from retune.cli.setting_flags import SettingsCommand, given_settings, refuse_more_sources
from retune.cli.terminal import print_quietly
from retune.errors import RetuneError
from retune.extras import Extra, require
from retune.local.side_by_side import SideBySide, start_prefect_early

if TYPE_CHECKING:
    from retune.config import RetrainConfig
    from retune.local.run_services import RunServices
    from retune.results.manifest import RunManifest

_EXIT_SIGNALLED = 128
_LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "retune.progress")
_EVALUATION = "Evaluation and output"


class RunCommand(SettingsCommand):
    """`retune run` with the settings that have a flag; a file given with `--config` may hold all others too."""

    panels: ClassVar = {
        "Data": ["data"],
        "Split": ["split"],
        "Training": [
            "training.model",
            "training.suffix",
            "training.seed",
            "training.hyperparameters",
            "training.max_cost_usd",
            "training.ignore_dates",
            "attempt",
        ],
        None: ["provider.base_url"],
        _EVALUATION: ["evaluation.concurrency", "evaluation.max_examples", "output_dir"],
    }


def run(
    context: typer.Context,
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show Prefect's log too.", rich_help_panel=_EVALUATION)
    ] = False,
) -> None:
    """Fine-tune a model on a table, evaluate it on held-out examples, and write a report.

    Without an address, Retune's own server trains on this machine: no account, no network, no cost.
    Running the same command again resumes where it stopped, and never starts a second job.
    """
    given = given_settings(context)
    refuse_more_sources(context, given.values.get("data.source"), "retune run --data")
    config = given.load()
    _require_extras(config)
    show_result(_run(config, verbose=verbose))


def _require_extras(config: "RetrainConfig") -> None:
    from retune.provider.endpoint import resolve_endpoint  # noqa: PLC0415 - pydantic takes a while to import

    extras: tuple[Extra, ...] = ("pipeline",) if resolve_endpoint(config.provider) else ("pipeline", "server")
    require("`retune run`", *extras)


def _run(config: "RetrainConfig", *, verbose: bool) -> "RunManifest":
    if not verbose:
        # Only on the terminal: the run's log in the Prefect UI is complete.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
        # Nor does it report every line that can't be delivered while Prefect's server is away.
        logging.raiseExceptions = False
    view = RunView()
    _stop_on_signals()
    try:
        with SideBySide() as starting:
            start_prefect_early(starting, view.warn)
            return _check_and_retrain(config, view, starting)
    except KeyboardInterrupt as interrupt:
        print_quietly("Stopped. Nothing is lost: run the same command again and it resumes where it stopped.")
        number = interrupt.signal if isinstance(interrupt, _StoppedError) else signal.SIGINT
        raise typer.Exit(_EXIT_SIGNALLED + number) from None


def _check_and_retrain(config: "RetrainConfig", view: RunView, starting: SideBySide) -> "RunManifest":
    from retune.local.run_services import check_data, check_provider, run_services  # noqa: PLC0415 - slow to import

    with ReadingBar().shown() as bar:
        check_data(config, lambda n_bytes: bar.read(n_bytes, None))
    with view.shown():
        endpoint = check_provider(config)
        view.show_header(config, endpoint)
        with run_services(config, endpoint, starting, view.warn) as services, view.listening(*_LOGGERS):
            view.show_address(services.watch_url)
            return _retrain(services, view)


def _retrain(services: "RunServices", view: RunView) -> "RunManifest":
    import asyncio  # noqa: PLC0415 - takes a while to import

    from prefect.exceptions import TerminationSignal  # noqa: PLC0415 - Prefect takes seconds to import

    try:
        return asyncio.run(services.retrain(services.config))
    except KeyboardInterrupt:
        view.say("stopping")
        raise
    except (TerminationSignal, Exception) as error:
        # Prefect raises it for SIGTERM while a flow runs. A task that has not quite started hides it, and any other
        # signal, behind an error of its own.
        interrupt = _find(error, (TerminationSignal, KeyboardInterrupt))
        if interrupt is None and "run is not set" in str(error):
            interrupt = _find(error, (asyncio.CancelledError,))
        if interrupt is None or isinstance(error, RetuneError):
            raise
        view.say("stopping")
        if isinstance(interrupt, _StoppedError):
            raise interrupt from None
        raise _StoppedError(signal.SIGTERM if isinstance(interrupt, TerminationSignal) else signal.SIGINT) from None


def _find(error: BaseException | None, kinds: tuple[type[BaseException], ...]) -> BaseException | None:
    """The nearest error of one of the kinds: this one, or one that was being handled when it was raised."""
    while error is not None and not isinstance(error, kinds):
        error = error.__context__
    return error


class _StoppedError(KeyboardInterrupt):
    """A signal that means the same as Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number


def _stop_on_signals() -> None:
    def stop(number: int, _frame: object) -> None:
        raise _StoppedError(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        # Under nohup, SIGHUP stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
