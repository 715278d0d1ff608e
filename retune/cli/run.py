"""`retune run`: the whole pipeline, from a table to a judged model, with nothing set up beforehand."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retune.cli.connection import BaseUrl
from retune.cli.run_services import run_services
from retune.cli.run_view import RunView, show_result
from retune.cli.terminal import print_quietly
from retune.config import RetrainConfig, SourceFormat, SplitMethod, load_config

if TYPE_CHECKING:
    from retune.manifest import RunManifest

_EXIT_INTERRUPTED = 130
_LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "retune.progress")
_DATA, _TRAINING, _EVALUATION = "Data", "Training", "Evaluation and output"


def _number_or_auto(text: str) -> Any:
    """Numbers as numbers; anything else is left to the configuration's own check, which says what is allowed."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _auto_option(help_text: str, kind: str, panel: str) -> Any:
    return typer.Option(help=help_text, parser=_number_or_auto, metavar=f"auto|{kind}", rich_help_panel=panel)


def run(
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", "-d", help="CSV, JSONL, Parquet or pandas pickle file.", metavar="FILE", rich_help_panel=_DATA
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="YAML file with settings; flags go before it.", metavar="FILE", rich_help_panel=_DATA
        ),
    ] = None,
    user_column: Annotated[
        str | None, typer.Option(help="Column with what the user says.", metavar="NAME", rich_help_panel=_DATA)
    ] = None,
    assistant_column: Annotated[
        str | None, typer.Option(help="Column with the answer to learn.", metavar="NAME", rich_help_panel=_DATA)
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="System prompt put before every example.", metavar="TEXT", rich_help_panel=_DATA)
    ] = None,
    data_format: Annotated[
        SourceFormat | None,
        typer.Option("--format", help="How to read the file; auto goes by its name.", rich_help_panel=_DATA),
    ] = None,
    split: Annotated[
        SplitMethod | None,
        typer.Option(help="stable: by each example's content; random: shuffled.", rich_help_panel=_DATA),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            help="Fraction held out to watch the training; default 0.1.", metavar="FRACTION", rich_help_panel=_DATA
        ),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(
            help="Fraction held out to judge the model; default 0.1.", metavar="FRACTION", rich_help_panel=_DATA
        ),
    ] = None,
    split_seed: Annotated[
        int | None, typer.Option(help="Another seed deals another split.", rich_help_panel=_DATA)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Base model to fine-tune; default baseline-text.", rich_help_panel=_TRAINING
        ),
    ] = None,
    suffix: Annotated[
        str | None, typer.Option(help="Put into the fine-tuned model's name.", rich_help_panel=_TRAINING)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the training; default 42.", rich_help_panel=_TRAINING)
    ] = None,
    n_epochs: Annotated[Any, _auto_option("Passes over the training file.", "INTEGER", _TRAINING)] = None,
    batch_size: Annotated[Any, _auto_option("Examples per step.", "INTEGER", _TRAINING)] = None,
    learning_rate_multiplier: Annotated[Any, _auto_option("Scales the learning rate.", "NUMBER", _TRAINING)] = None,
    base_url: BaseUrl = None,
    attempt: Annotated[
        str | None,
        typer.Option(
            help="Any text: another text trains anew on the same data and settings.", rich_help_panel=_TRAINING
        ),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Test questions under way at once; default 8.", rich_help_panel=_EVALUATION)
    ] = None,
    max_examples: Annotated[
        Any, _auto_option("Judge on at most so many test examples; auto takes all.", "INTEGER", _EVALUATION)
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            "-o",
            help="The run's directory; default: one of its own under .retune/runs/.",
            metavar="DIR",
            rich_help_panel=_EVALUATION,
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show Prefect's log too.", rich_help_panel=_EVALUATION)
    ] = False,
) -> None:
    """Fine-tune a model on a table, judge it on held-out examples, and write a report.

    With no address named, Retune's own server trains on this machine: no account, no network, no cost.
    Running the same command again goes on where it stopped, and never starts a second job.
    """
    settings = load_config(
        config,
        {
            "data": {
                "path": data,
                "format": data_format,
                "user_column": user_column,
                "assistant_column": assistant_column,
                "system": system,
            },
            "split": {"method": split, "validation": validation, "test": test, "seed": split_seed},
            "training": {
                "model": model,
                "suffix": suffix,
                "seed": seed,
                "hyperparameters": {
                    "n_epochs": n_epochs,
                    "batch_size": batch_size,
                    "learning_rate_multiplier": learning_rate_multiplier,
                },
            },
            "evaluation": {"concurrency": concurrency, "max_examples": max_examples},
            "provider": {"base_url": base_url},
            "output_dir": output_dir,
            "attempt": attempt,
        },
    )
    show_result(_run(settings, verbose=verbose))


def _run(config: RetrainConfig, *, verbose: bool) -> "RunManifest":
    if not verbose:
        # Only the terminal is spared: the run's log in the Prefect UI stays complete.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    view = RunView()
    try:
        with view.shown(), run_services(config, view) as services, view.listening(*_LOGGERS):
            try:
                return asyncio.run(services.retrain(services.config))
            except KeyboardInterrupt:
                view.say("stopping")
                raise
    except KeyboardInterrupt:
        print_quietly("Stopped. Nothing is lost: run the same command again and it goes on where it stopped.")
        raise typer.Exit(_EXIT_INTERRUPTED) from None
