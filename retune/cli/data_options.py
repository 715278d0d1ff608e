"""Flags that say where examples come from and how they are split; the same wherever a command reads a source.

Each is a type of a parameter. A command takes those that it wants, with None as the default, and gives them to
`retune.config_file.load_config` as overrides: what nobody named stays as the configuration file, or the default, has
it.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from retune.choices import ConversationStart, ExampleShape, SourceFormat, SplitMethod
from retune.errors import ConfigError

DATA_PANEL, SPLIT_PANEL, TRAINING_PANEL = "Data", "Split", "Training"

SOURCE_HELP = (
    "File, folder, pattern ('data/*.csv') or address (s3://…, https://…) of CSV, TSV, JSONL, JSON, Parquet, Arrow, "
    "Excel or pandas pickle; or a database's address (postgresql://…, sqlite:///…) for --query."
)


def _data(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel=DATA_PANEL)


def _split(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel=SPLIT_PANEL)


def number_or_auto(text: str) -> Any:
    """Numbers as numbers; anything else is left to the configuration's own check, which says what is allowed."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def auto_option(help_text: str, kind: str, panel: str) -> Any:
    """A flag that takes a number or a word such as auto."""
    return typer.Option(help=help_text, parser=number_or_auto, metavar=kind, rich_help_panel=panel)


ConfigFile = Annotated[
    Path | None, _data("YAML file with settings; flags go before it.", "--config", "-c", metavar="FILE")
]
DataFormat = Annotated[SourceFormat | None, _data("How to read the source; auto goes by its name.", "--format")]
Sheet = Annotated[
    str | None, _data("Sheet of a workbook to read; default: the first with anything in it.", metavar="NAME")
]
NoHeader = Annotated[
    bool | None,
    _data("The first row of a CSV or TSV file is an example; columns are called column 1, ….", "--no-header"),
]
Query = Annotated[str | None, _data("SQL query whose rows are the source.", metavar="SQL")]
TrustPickle = Annotated[
    bool | None,
    _data("Let a pickle run whatever code it holds. Only for files that you made yourself.", "--trust-pickle"),
]
FollowLinks = Annotated[
    bool | None,
    _data("In a folder or pattern, read links that lead out of it; else they are refused.", "--follow-links"),
]
ValidationData = Annotated[
    str | None,
    _data("File, folder, pattern or address of the validation split; then it isn't drawn.", metavar="SOURCE"),
]
TestData = Annotated[
    str | None,
    _data("File, folder, pattern or address of the test split; it is never trained on.", metavar="SOURCE"),
]
IgnoreSplits = Annotated[
    bool | None,
    _data(
        "Draw the splits anew, whatever file names, keys or a column split say; their test rows are trained on too.",
        "--ignore-splits",
    ),
]
MaxSourceGb = Annotated[
    float | None, _data("Refuse a source of more gigabytes, unpacked; default 50.", metavar="NUMBER")
]
MaxUnpackedRatio = Annotated[
    float | None,
    _data("Refuse a packed file that unpacks to more than so many times its size; default 200.", metavar="NUMBER"),
]
MaxRowMb = Annotated[int | None, _data("Refuse a row, line or cell of more megabytes; default 32.", metavar="INTEGER")]
MaxPickleMb = Annotated[
    int | None,
    _data("Refuse a pickle or workbook that takes more megabytes of memory; default 512.", metavar="INTEGER"),
]
MaxRows = Annotated[int | None, _data("Refuse a source of more examples; default 20,000,000.", metavar="INTEGER")]
MaxErrors = Annotated[
    int | None, _data("Stop reading after more errors, and report these; default 1,000,000.", metavar="INTEGER")
]
MaxDiskGb = Annotated[
    float | None, _data("Refuse a source whose examples take more gigabytes of disk; default 100.", metavar="NUMBER")
]
MaxMinutes = Annotated[
    float | None, _data("Refuse a source that takes more minutes to read; default 240.", metavar="NUMBER")
]
RowFormat = Annotated[ExampleShape | None, _data("What a row holds; auto goes by the columns.")]
UserColumn = Annotated[str | None, _data("Column with what the user says.", metavar="NAME")]
AssistantColumn = Annotated[str | None, _data("Column with the answer to learn.", metavar="NAME")]
UserTemplate = Annotated[
    str | None, _data("What the user says, put together from columns: '{subject}: {body}'.", metavar="TEXT")
]
AssistantTemplate = Annotated[str | None, _data("The answer, put together from columns.", metavar="TEXT")]
MessagesColumn = Annotated[str | None, _data("Column with ready chat messages; default messages.", metavar="NAME")]
System = Annotated[
    str | None,
    _data("System prompt put before every example; may name columns in braces as templates do.", metavar="TEXT"),
]
ConversationColumn = Annotated[
    str | None, _data("One message a row: column that tells the conversation.", metavar="NAME")
]
RoleColumn = Annotated[str | None, _data("One message a row: column that tells who speaks.", metavar="NAME")]
TextColumn = Annotated[str | None, _data("One message a row: column with the text.", metavar="NAME")]
TimeColumn = Annotated[str | None, _data("One message a row: column that puts them in order.", metavar="NAME")]
AssistantRole = Annotated[
    str | None,
    _data("What the role's column says of the assistant; several, separated by commas.", metavar="TEXT"),
]
StartOfConversation = Annotated[
    ConversationStart | None,
    _data("One message a row: where the next conversation begins.", "--conversation-start"),
]
DayFirst = Annotated[
    bool | None,
    _data("One message a row: what comes first in dates such as 3/4/2025.", "--day-first/--month-first"),
]
PauseMinutes = Annotated[
    float | None, _data("Minutes without a message that end a conversation; default 30.", metavar="NUMBER")
]

Split = Annotated[
    SplitMethod | None,
    _split(
        "stable: by each example's content; random: shuffled; group: rows that share a column's value stay together; "
        "column: a column says it."
    ),
]
Validation = Annotated[
    float | None,
    _split("Held out to watch the training: a fraction, or a number of examples; default 0.1.", metavar="NUMBER"),
]
Test = Annotated[
    float | None,
    _split("Held out to judge the model: a fraction, or a number of examples; default 0.1.", metavar="NUMBER"),
]
SplitSeed = Annotated[int | None, _split("Another seed gives another split.", metavar="INTEGER")]
SplitColumn = Annotated[
    str | None, _split("For group: whose equal values stay together. For column: which says the split.", metavar="NAME")
]
Stratify = Annotated[
    bool | None, _split("For random: the same mixture of answers in every split.", "--stratify/--no-stratify")
]
StratifyColumn = Annotated[
    str | None, _split("For random: the same mixture of this column's values in every split.", metavar="NAME")
]

Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="Base model to fine-tune; default baseline-text.", rich_help_panel=TRAINING_PANEL
    ),
]
NEpochs = Annotated[Any, auto_option("Passes over the training file.", "auto|INTEGER", TRAINING_PANEL)]
MaxCostUsd = Annotated[
    Any,
    auto_option("Refuse, before anything is uploaded, what would cost more US dollars.", "NUMBER", TRAINING_PANEL),
]

IgnoreDates = Annotated[
    bool | None,
    typer.Option(
        "--ignore-dates",
        help="Train although, by the published dates, the provider has ended the base model.",
        rich_help_panel=TRAINING_PANEL,
    ),
]

PLACES = {
    "source": "data.source",
    "data_format": "data.format",
    "sheet": "data.sheet",
    "no_header": "data.no_header",
    "query": "data.query",
    "trust_pickle": "data.trust_pickle",
    "follow_links": "data.follow_links",
    "validation_data": "data.validation_source",
    "test_data": "data.test_source",
    "ignore_splits": "data.ignore_splits",
    "max_source_gb": "data.limits.max_source_gb",
    "max_unpacked_ratio": "data.limits.max_unpacked_ratio",
    "max_row_mb": "data.limits.max_row_mb",
    "max_pickle_mb": "data.limits.max_pickle_mb",
    "max_rows": "data.limits.max_rows",
    "max_errors": "data.limits.max_errors",
    "max_disk_gb": "data.limits.max_disk_gb",
    "max_minutes": "data.limits.max_minutes",
    "shape": "data.shape",
    "user_column": "data.user_column",
    "assistant_column": "data.assistant_column",
    "user_template": "data.user_template",
    "assistant_template": "data.assistant_template",
    "messages_column": "data.messages_column",
    "system": "data.system",
    "conversation_column": "data.message_rows.conversation_column",
    "role_column": "data.message_rows.role_column",
    "text_column": "data.message_rows.text_column",
    "time_column": "data.message_rows.time_column",
    "assistant_role": "data.message_rows.assistant_role",
    "conversation_start": "data.message_rows.conversation_start",
    "pause_minutes": "data.message_rows.pause_minutes",
    "day_first": "data.message_rows.day_first",
    "split": "split.method",
    "validation": "split.validation",
    "test": "split.test",
    "split_seed": "split.seed",
    "split_column": "split.column",
    "stratify": "split.stratify",
    "stratify_column": "split.stratify_column",
    "model": "training.model",
    "n_epochs": "training.hyperparameters.n_epochs",
    "max_cost_usd": "training.max_cost_usd",
    "ignore_dates": "training.ignore_dates",
}
"""Where the configuration has what a parameter of these types says, by the parameter's name."""


def refuse_more_sources(context: typer.Context, source: str | None, usage: str) -> None:
    """Say what to do where the shell put files in the place of a pattern.

    Args:
        context: Of the command, with the arguments that it has no name for.
        source: The source that it was given.
        usage: How the command names a source: "retune check".

    Raises:
        ConfigError: There are more files.
        typer.BadParameter: There are arguments that are none.
    """
    more = context.args
    if not more:
        return
    if source is None or not all(Path(name).exists() for name in [source, *more]):
        raise typer.BadParameter(f"Got unexpected extra argument(s) ({' '.join(more)})")
    paths = [Path(name) for name in [source, *more]]
    parents, suffixes = {path.parent for path in paths}, {path.suffix for path in paths}
    pattern = f"{parents.pop() if len(parents) == 1 else '**'}/*{suffixes.pop() if len(suffixes) == 1 else ''}"
    raise ConfigError(
        f"{len(paths):,} files are named, and one source is read: {source}, {more[0]}{', …' if more[1:] else ''}.",
        hint=f"The shell puts the files in the place of a pattern that isn't in quotes: "
        f"{usage} {shlex.quote(pattern.removeprefix('./'))}. Or name their folder.",
    )


def place_overrides(flags: Mapping[str, Any], places: Mapping[str, str] = PLACES) -> dict[str, Any]:
    """Put every flag where the configuration has it.

    Args:
        flags: A command's parameters by their names; those without a place are left out.
        places: The place of each: "split.seed".
    """
    settings: dict[str, Any] = {}
    for name, place in places.items():
        *sections, key = place.split(".")
        section = settings
        for part in sections:
            section = section.setdefault(part, {})
        section[key] = flags.get(name)
    return settings
