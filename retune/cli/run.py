"""`retune run`: the whole pipeline, from a table to a judged model, with nothing set up beforehand."""

import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retune.cli import data_options as options
from retune.cli.check_view import ReadingBar
from retune.cli.connection import BaseUrl
from retune.cli.data_options import auto_option
from retune.cli.run_view import RunView, show_result
from retune.cli.side_by_side import SideBySide, start_prefect_early
from retune.cli.terminal import print_quietly

if TYPE_CHECKING:
    from retune.config import RetrainConfig
    from retune.results.manifest import RunManifest

_EXIT_SIGNALLED = 128
_LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "retune.progress")
_TRAINING, _EVALUATION = options.TRAINING_PANEL, "Evaluation and output"


def _training(help_text: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=_TRAINING)


def _evaluation(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel=_EVALUATION)


Data = Annotated[
    str | None,
    typer.Option("--data", "-d", help=options.SOURCE_HELP, metavar="SOURCE", rich_help_panel=options.DATA_PANEL),
]
Suffix = Annotated[str | None, _training("Put into the fine-tuned model's name.")]
Seed = Annotated[int | None, _training("Seed of the training; default 42.")]
BatchSize = Annotated[Any, auto_option("Examples per step.", "auto|INTEGER", _TRAINING)]
LearningRateMultiplier = Annotated[Any, auto_option("Scales the learning rate.", "auto|NUMBER", _TRAINING)]
Attempt = Annotated[str | None, _training("Any text: another text trains anew on the same data and settings.")]
Concurrency = Annotated[int | None, _evaluation("Test questions under way at once; default 8.")]
MaxExamples = Annotated[
    Any, auto_option("Judge on at most so many test examples; auto takes all.", "auto|INTEGER", _EVALUATION)
]
OutputDir = Annotated[
    Path | None,
    _evaluation(
        "The run's directory; default: one of its own under .retune/runs/.", "--output-dir", "-o", metavar="DIR"
    ),
]
Verbose = Annotated[bool, _evaluation("Show Prefect's log too.", "--verbose", "-v")]

# Where the configuration has what a flag says.
_PLACES = {
    **{"data" if name == "source" else name: place for name, place in options.PLACES.items()},
    **{name: f"training.{name}" for name in ("suffix", "seed")},
    **{name: f"training.hyperparameters.{name}" for name in ("batch_size", "learning_rate_multiplier")},
    **{name: f"evaluation.{name}" for name in ("concurrency", "max_examples")},
    "base_url": "provider.base_url",
    "output_dir": "output_dir",
    "attempt": "attempt",
}


def run(
    context: typer.Context,
    *,
    data: Data = None,
    config: options.ConfigFile = None,
    data_format: options.DataFormat = None,
    sheet: options.Sheet = None,
    no_header: options.NoHeader = None,
    query: options.Query = None,
    trust_pickle: options.TrustPickle = None,
    follow_links: options.FollowLinks = None,
    validation_data: options.ValidationData = None,
    test_data: options.TestData = None,
    ignore_splits: options.IgnoreSplits = None,
    max_source_gb: options.MaxSourceGb = None,
    max_unpacked_ratio: options.MaxUnpackedRatio = None,
    max_row_mb: options.MaxRowMb = None,
    max_pickle_mb: options.MaxPickleMb = None,
    max_rows: options.MaxRows = None,
    max_errors: options.MaxErrors = None,
    max_disk_gb: options.MaxDiskGb = None,
    max_minutes: options.MaxMinutes = None,
    shape: options.Shape = None,
    user_column: options.UserColumn = None,
    assistant_column: options.AssistantColumn = None,
    user_template: options.UserTemplate = None,
    assistant_template: options.AssistantTemplate = None,
    messages_column: options.MessagesColumn = None,
    system: options.System = None,
    conversation_column: options.ConversationColumn = None,
    role_column: options.RoleColumn = None,
    text_column: options.TextColumn = None,
    time_column: options.TimeColumn = None,
    day_first: options.DayFirst = None,
    assistant_role: options.AssistantRole = None,
    conversation_start: options.StartOfConversation = None,
    pause_minutes: options.PauseMinutes = None,
    split: options.Split = None,
    validation: options.Validation = None,
    test: options.Test = None,
    split_seed: options.SplitSeed = None,
    split_column: options.SplitColumn = None,
    stratify: options.Stratify = None,
    stratify_column: options.StratifyColumn = None,
    model: options.Model = None,
    suffix: Suffix = None,
    seed: Seed = None,
    n_epochs: options.NEpochs = None,
    batch_size: BatchSize = None,
    learning_rate_multiplier: LearningRateMultiplier = None,
    max_cost_usd: options.MaxCostUsd = None,
    ignore_dates: options.IgnoreDates = None,
    base_url: BaseUrl = None,
    attempt: Attempt = None,
    concurrency: Concurrency = None,
    max_examples: MaxExamples = None,
    output_dir: OutputDir = None,
    verbose: Verbose = False,
) -> None:
    """Fine-tune a model on a table, judge it on held-out examples, and write a report.

    With no address named, Retune's own server trains on this machine: no account, no network, no cost.
    Running the same command again resumes where it stopped, and never starts a second job.
    """
    flags = dict(locals())
    options.refuse_more_sources(context, data, "retune run --data")
    from retune.config_file import load_config  # noqa: PLC0415 - pydantic takes a while to import

    show_result(_run(load_config(config, options.place_overrides(flags, _PLACES)), verbose=verbose))


def _run(config: "RetrainConfig", *, verbose: bool) -> "RunManifest":
    if not verbose:
        # Only the terminal is spared: the run's log in the Prefect UI stays complete.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
        # Nor does it report every line that can't be delivered while Prefect's server is away.
        logging.raiseExceptions = False
    view = RunView()
    _stop_when_told()
    try:
        with SideBySide() as starting:
            start_prefect_early(starting, view.warn)
            return _check_and_retrain(config, view, starting)
    except KeyboardInterrupt as interrupt:
        print_quietly("Stopped. Nothing is lost: run the same command again and it resumes where it stopped.")
        number = interrupt.signal if isinstance(interrupt, _StoppedError) else signal.SIGINT
        raise typer.Exit(_EXIT_SIGNALLED + number) from None


def _check_and_retrain(config: "RetrainConfig", view: RunView, starting: SideBySide) -> "RunManifest":
    from retune.cli.run_services import check_data, run_services  # noqa: PLC0415 - what it needs is slow to import

    with ReadingBar().shown() as bar:
        check_data(config, bar)
    with view.shown(), run_services(config, view, starting) as services, view.listening(*_LOGGERS):
        import asyncio  # noqa: PLC0415 - takes a while to import

        from prefect.exceptions import TerminationSignal  # noqa: PLC0415 - Prefect takes seconds to import

        try:
            return asyncio.run(services.retrain(services.config))
        except TerminationSignal:
            # Prefect's own way to say SIGTERM, while a flow runs.
            view.say("stopping")
            raise _StoppedError(signal.SIGTERM) from None
        except KeyboardInterrupt:
            view.say("stopping")
            raise


class _StoppedError(KeyboardInterrupt):
    """A signal that means the same as Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number


def _stop_when_told() -> None:
    def stop(number: int, _frame: object) -> None:
        raise _StoppedError(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        # What `nohup` ignores stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
