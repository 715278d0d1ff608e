"""`retune check`: what is wrong with the data, and what a run on it will cost, with no account and no network."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from retune.choices import ProviderKind
from retune.cli.check_advice import show_advice
from retune.cli.check_view import ReadingBar, show_fix, show_result
from retune.cli.setting_flags import GivenSettings, SettingsCommand, given_settings, refuse_more_sources
from retune.cli.terminal import out
from retune.cli.working_directory import working_directory

if TYPE_CHECKING:
    from retune.check_result import CheckResult

_TRAINING, _OUTPUT = "Training", "Output"


class CheckCommand(SettingsCommand):
    """`retune check` with the settings of the data, the split, and the training that decides cost and limits."""

    source_is_argument = True
    panels: ClassVar = {
        "Data": ["data"],
        "Split": ["split"],
        _TRAINING: [
            "training.model",
            "training.hyperparameters.n_epochs",
            "training.max_cost_usd",
            "training.ignore_dates",
        ],
        _OUTPUT: [],
    }


Method = Annotated[
    Literal["supervised", "dpo", "reinforcement"] | None,
    typer.Option(
        help="Method that the examples are for; by default the one that their shape is for.", rich_help_panel=_TRAINING
    ),
]
Provider = Annotated[
    ProviderKind | None,
    typer.Option(
        help="Provider whose limits and prices apply; by default the one that would train.", rich_help_panel=_TRAINING
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        help="Write up to 1,000 problems of each kind to this JSON file.", metavar="FILE", rich_help_panel=_OUTPUT
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel=_OUTPUT)]
Fix = Annotated[
    Path | None,
    typer.Option(
        help="Write the examples to this JSONL file with all safe repairs made, and check that file.",
        metavar="FILE",
        rich_help_panel=_OUTPUT,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Let --fix overwrite its file.", rich_help_panel=_OUTPUT)]


def check(
    context: typer.Context,
    *,
    method: Method = None,
    provider: Provider = None,
    report: Report = None,
    as_json: AsJson = False,
    fix: Fix = None,
    force: Force = False,
) -> None:
    """Report everything that is wrong with the data, and what training on it will cost. No account, no network.

    Exit status 0: no errors; warnings are allowed. 1: errors that would stop a run, it costs more than
    --max-cost-usd, or the provider has ended the base model. 2: the source can't be read, or the flags don't fit it.
    The source is never changed.
    """
    given = given_settings(context)
    source = given.values.get("data.source")
    refuse_more_sources(context, source, "retune check")
    if source is None and given.config is None:
        raise typer.BadParameter("Name the source to check, or a --config that names it.", param_hint="SOURCE")
    settings = given.load()
    with working_directory() as directory, ReadingBar().shown() as bar:
        from retune.check_source import CheckRequest, check_source  # noqa: PLC0415 - takes half a second
        from retune.data.cost.model_dates import utc_today  # noqa: PLC0415 - likewise

        request = CheckRequest(
            settings, method, provider, report_path=report, fix=fix, may_overwrite=force, today=utc_today()
        )
        result = check_source(request, directory, bar.show)
    if as_json:
        # ASCII only: escapes replace what a terminal would obey, and what can't be written in UTF-8.
        out.file.write(json.dumps(result.model_dump(mode="json"), indent=2) + "\n")
    else:
        _show(result, given, method=method, provider=provider)
    raise typer.Exit(result.exit_status)


def _show(result: "CheckResult", given: GivenSettings, **own_flags: str | None) -> None:
    if result.fix is not None:
        show_fix(result.fix)
    show_result(result)
    flags = {place: words for place, words in given.words.items() if place != "data.source"}
    own_words = {name: [f"--{name}", value] for name, value in own_flags.items() if value is not None}
    show_advice(result, given.values.get("data.source"), flags, own_words)
