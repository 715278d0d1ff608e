"""`retune check`: what is wrong with the data, and what a run on it will cost, with no account and no network."""

import json
import signal
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import typer

from retune.choices import ProviderKind
from retune.cli import data_options as options
from retune.cli.check_advice import show_advice
from retune.cli.check_view import ReadingBar, show_fix, show_result
from retune.cli.terminal import out, print_quietly
from retune.staging import CHECK_PREFIX, staging_directory

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_EXIT_OF_SIGNALS = 128
_OUTPUT_PANEL = "Output"


def check(
    context: typer.Context,
    source: Annotated[str | None, typer.Argument(help=options.SOURCE_HELP, metavar="SOURCE")] = None,
    *,
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
    method: Annotated[
        Literal["supervised", "dpo", "reinforcement"] | None,
        typer.Option(help="What the examples are to train; default: what they can.", rich_help_panel="Training"),
    ] = None,
    provider: Annotated[
        ProviderKind | None,
        typer.Option(
            help="Whose limits they must keep, and whose prices; default: who would train.", rich_help_panel="Training"
        ),
    ] = None,
    n_epochs: options.NEpochs = None,
    max_cost_usd: options.MaxCostUsd = None,
    ignore_dates: options.IgnoreDates = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write the problems into this JSON file, up to 1,000 of each kind.",
            metavar="FILE",
            rich_help_panel=_OUTPUT_PANEL,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel=_OUTPUT_PANEL)
    ] = False,
    fix: Annotated[
        Path | None,
        typer.Option(
            help="Write the examples into this JSONL file with all safe repairs made, and check that.",
            metavar="FILE",
            rich_help_panel=_OUTPUT_PANEL,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Let --fix overwrite its file.", rich_help_panel=_OUTPUT_PANEL)
    ] = False,
) -> None:
    """Say everything that is wrong with the data, and what training on it will cost. No account, no network.

    Exit status 0: no errors; warnings are allowed. 1: errors that would stop a run, it costs more than
    --max-cost-usd, or the provider has ended the base model. 2: the source can't be read, or the flags don't fit it.
    The source is never changed.
    """
    flags = dict(locals())
    options.refuse_more_sources(context, source, "retune check")
    if source is None and config is None:
        raise typer.BadParameter("name what to check, or a --config that names it.", param_hint="SOURCE")
    from retune.config_file import load_config  # noqa: PLC0415 - pydantic takes a while to import

    settings = load_config(config, options.place_overrides(flags))
    with _working_directory() as directory, ReadingBar().shown() as bar:
        from retune.check_source import CheckRequest, check_source  # noqa: PLC0415 - takes half a second
        from retune.data.cost.model_dates import utc_today  # noqa: PLC0415 - likewise

        request = CheckRequest(
            settings, method, provider, report_path=report, fix=fix, may_overwrite=force, today=utc_today()
        )
        result = check_source(request, directory, bar.show)
    if as_json:
        # ASCII alone: escapes stand for what a terminal would obey, and for what UTF-8 has not.
        out.file.write(json.dumps(result.model_dump(mode="json"), indent=2) + "\n")
    else:
        if result.fix is not None:
            show_fix(result.fix)
        show_result(result)
        given = _given_flags(context, flags, {*options.PLACES, "config"} - {"source"})
        show_advice(result, source, given, _given_flags(context, flags, {"method", "provider"}))
    raise typer.Exit(result.exit_status)


def _given_flags(context: typer.Context, flags: Mapping[str, Any], names: Collection[str]) -> dict[str, list[str]]:
    """Those of these flags that were given, as they were given, by their parameters' names."""
    given: dict[str, list[str]] = {}
    for parameter in context.command.params:
        value = flags.get(parameter.name or "")
        if parameter.name in names and value is not None:
            if isinstance(value, bool):
                given[parameter.name] = [(parameter.opts if value else parameter.secondary_opts)[0]]
            else:
                given[parameter.name] = [parameter.opts[0], str(value)]
    return given


class _Ended(SystemExit):
    """A signal asked the program to stop."""


def _end(number: int, _frame: FrameType | None) -> None:
    raise _Ended(_EXIT_OF_SIGNALS + number)


@contextmanager
def _working_directory() -> Iterator[Path]:
    """A directory that is removed afterwards, also after a signal; after SIGKILL, by the next check."""
    # What is ignored already, as by nohup, stays so.
    before = {number: signal.getsignal(number) for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, _end)
    before[signal.SIGINT] = signal.getsignal(signal.SIGINT)
    try:
        with staging_directory(Path(tempfile.gettempdir()), prefix=CHECK_PREFIX) as directory:
            try:
                yield directory
            finally:
                # A second Ctrl-C, which impatient people press, would leave half of it behind.
                for number in before:
                    signal.signal(number, signal.SIG_IGN)
    except _Ended as ended:
        name = signal.Signals(int(str(ended.code)) - _EXIT_OF_SIGNALS).name
        print_quietly(f"Stopped by {name}. Temporary files were removed.")
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
