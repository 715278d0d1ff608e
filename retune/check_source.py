"""What `retune check` does: read, repair if asked to, check. Imported late, as the libraries under it are slow to."""

from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatch
from pathlib import Path

from retune.cli.check_view import ReadingBar
from retune.config import (
    LOCAL_MODEL,
    DataConfig,
    ExampleShape,
    ProviderKind,
    RetrainConfig,
    SourceFormat,
    SplitConfig,
    SplitMethod,
)
from retune.data.comparison.check import check_store
from retune.data.comparison.report import CheckReport
from retune.data.cost import describe_cost, format_usd, refuse_if_too_expensive
from retune.data.describing.load import LoadOptions, load_examples
from retune.data.examples import Method
from retune.data.model_dates import ModelDates, days_left, describe_dates, describe_move, find_dates, refuse_if_ended
from retune.data.models import completes_prompts, provider_dates
from retune.data.repair import (
    HELD_OUT,
    Repaired,
    changes_path_of,
    declared_sides,
    held_out_path,
    held_out_paths,
    repair_examples,
)
from retune.data.sources.stored_files import has_wildcard
from retune.data.splits.split import deal_all
from retune.data.store.store import ExampleStore, StoreFacts
from retune.errors import ConfigError
from retune.provider.endpoint import resolve_endpoint

_JSONL_ENDINGS = {".jsonl", ".ndjson"}
_SHAPE_BY_METHOD: dict[Method, ExampleShape] = {
    "supervised": ExampleShape.MESSAGES,
    "dpo": ExampleShape.PREFERENCE,
    "reinforcement": ExampleShape.REINFORCEMENT,
}


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What the user wants to know.

    Attributes:
        settings: The source, its split, the training.
        method: What the examples are to train; None for what they can.
        provider: Whose limits they must keep; None for whoever would train.
        report_path: Where the problems go, up to 1,000 of each kind; None for nowhere.
        fix: Where the repaired examples go; None to repair nothing.
        may_overwrite: That file may be there already.
        today: The day by which the base model's dates are judged, in UTC.
    """

    settings: RetrainConfig
    method: Method | None
    provider: ProviderKind | None
    report_path: Path | None
    fix: Path | None
    may_overwrite: bool
    today: date


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, of the source or, where it was repaired, of the new file.

    Attributes:
        facts: What was read.
        repaired: What was repaired; None where nobody asked for it.
        report_path: Where the problems are, up to 1,000 of each kind.
        split: How what was repaired is split; None where it is as the user said.
        max_cost_usd: The user's limit.
        dates: When the provider ends the base model; None where nothing is published.
        ended: Why a run would be refused for these dates; None where it would not.
        today: The day that they were compared with.
    """

    report: CheckReport
    facts: StoreFacts
    repaired: Repaired | None
    report_path: Path | None
    split: SplitConfig | None
    max_cost_usd: float | None
    dates: ModelDates | None
    ended: ConfigError | None
    today: date

    @property
    def refusal(self) -> ConfigError | None:
        """Why a run would be refused, for its dates or its cost."""
        return self.ended or self.too_expensive

    @property
    def too_expensive(self) -> ConfigError | None:
        """Why a run would be refused for its cost."""
        if self.report.cost is None or self.max_cost_usd is None:
            return None
        try:
            refuse_if_too_expensive(self.report.cost, self.max_cost_usd)
        except ConfigError as error:
            return error
        return None

    @property
    def cost(self) -> str:
        """What the training will cost, for people."""
        cost = self.report.cost
        if cost is None:
            return "nothing can be trained"
        amount = f"about {format_usd(cost.usd)}: " if cost.usd else ""
        return f"{amount}{describe_cost(cost)}"

    @property
    def lifetime(self) -> str:
        """When the provider ends the base model, for people; empty for providers that publish no such days."""
        if self.dates is None:
            return "not known" if provider_dates(self.facts.provider) else ""
        return describe_dates(self.dates, self.today)

    @property
    def days_left(self) -> int | None:
        """Days until the base model ends, where that is soon."""
        is_near = self.dates is not None and self.dates.is_near(self.today)
        return days_left(self.dates, self.today) if is_near and self.dates else None

    @property
    def move(self) -> str | None:
        """Where to train instead, where the base model ends soon."""
        return describe_move(self.dates, today=self.today) if self.dates and self.dates.is_near(self.today) else None

    @property
    def exit_status(self) -> int:
        """0 for a run that may go on, 1 for one that may not."""
        return int(self.report.n_errors > 0 or self.refusal is not None)


def check_source(request: CheckRequest, directory: Path, bar: ReadingBar) -> Checked:
    """Check the source, or repair it and check what came of it.

    Args:
        request: What the user wants to know.
        directory: An empty one, for what is needed on the way.
        bar: Shows how far it is.

    Raises:
        ConfigError: A file can't be written where it should be.
        SourceError: The source can't be read.
        CheckError: It can't be repaired without losing rows.
        RunDirectoryError: A disk is full, or otherwise unwilling.
    """
    settings = request.settings
    repaired = None
    _refuse_bad_outputs(request)
    if request.fix is not None:
        _refuse_bad_target(request.fix, settings.data.source, may_overwrite=request.may_overwrite)
        repaired, settings = _repair(request, request.fix, directory / "source", bar)
    store = _load(settings, request, directory / "examples", bar)
    _keep_source_whole([request.report_path], store)
    bar.say("comparing")
    report = check_store(
        store,
        settings.split,
        model=settings.training.model,
        n_epochs=settings.training.hyperparameters.n_epochs,
        path=request.report_path or directory / "report.json",
        is_private=request.report_path is None,
    )
    limit = settings.training.max_cost_usd
    dates = find_dates(settings.training.model, store.facts.provider)
    return Checked(
        report,
        store.facts,
        repaired,
        request.report_path,
        split=settings.split if repaired is not None and settings.split != request.settings.split else None,
        max_cost_usd=None if limit == "unlimited" else limit,
        dates=dates,
        ended=_refusal_for_dates(dates, settings, request.today),
        today=request.today,
    )


def _refusal_for_dates(dates: ModelDates | None, settings: RetrainConfig, today: date) -> ConfigError | None:
    try:
        refuse_if_ended(dates, today=today, ignore_dates=settings.training.ignore_dates)
    except ConfigError as error:
        return error
    return None


def _load(
    settings: RetrainConfig, request: CheckRequest, directory: Path, bar: ReadingBar, *, for_repair: bool = False
) -> ExampleStore:
    options = LoadOptions(
        model=settings.training.model,
        method=request.method,
        provider=request.provider or _who_trains(settings),
        counts_tokens=not for_repair,
        cleans=not for_repair,
    )
    bar.say("reading")
    return load_examples(settings.data, settings.split, options, directory, on_progress=bar.read)


def _who_trains(settings: RetrainConfig) -> ProviderKind:
    """Whoever `retune run` would go to; for a model that only OpenAI has, and no address, OpenAI."""
    endpoint = resolve_endpoint(settings.provider)
    if endpoint is not None:
        return endpoint.kind
    return "retune" if settings.training.model == LOCAL_MODEL else "openai"


def _repair(request: CheckRequest, target: Path, directory: Path, bar: ReadingBar) -> tuple[Repaired, RetrainConfig]:
    store = _load(request.settings, request, directory, bar, for_repair=True)
    split = request.settings.split
    goes_by_column = split.column is not None or split.stratify_column is not None
    # The new file holds conversations alone: what goes by a column is split before.
    is_drawn = goes_by_column and split.method is not SplitMethod.COLUMN
    sides = deal_all(store, split) if is_drawn else declared_sides(store)
    others = held_out_paths(sides, target)
    _refuse_files_of_other_splits(target, others)
    _refuse_files_there([*others.values()], may_overwrite=request.may_overwrite)
    _keep_source_whole([target, changes_path_of(target), *others.values(), request.report_path], store)
    bar.say("repairing")
    repaired = repair_examples(store, target, sides=sides, on_progress=bar.count)
    shape = _SHAPE_BY_METHOD[store.facts.method]
    if completes_prompts(request.settings.training.model) and shape is ExampleShape.MESSAGES:
        shape = ExampleShape.COMPLETION
    data = DataConfig(
        source=str(target),
        format=SourceFormat.JSONL,
        shape=shape,
        **{f"{name}_source": str(path) for name, path in others.items()},
    )
    if goes_by_column:
        # All that is held out is in files of its own: nothing is drawn beside it.
        split = SplitConfig(validation=0, test=0, seed=split.seed)
    return repaired, request.settings.model_copy(update={"data": data, "split": split})


def _refuse_bad_outputs(request: CheckRequest) -> None:
    """Before anything is read: what could only fail at the end, or would replace what was just written."""
    for flag, path in (("--report", request.report_path), ("--fix", request.fix)):
        if path is not None and path.is_dir():
            raise ConfigError(f"{flag} needs a file; {path} is a directory.", hint="Name a file in it.")
        if path is not None and not path.parent.is_dir():
            raise ConfigError(f"{flag} {path}: there is no directory {path.parent}.", hint="Make it, or fix the name.")
    if request.fix is None or request.report_path is None:
        return
    for written in (request.fix, changes_path_of(request.fix)):
        if _is_same(written, request.report_path):
            raise ConfigError(
                f"--report {request.report_path} would replace what --fix writes there.",
                hint="Name another file for one of them.",
            )


def _is_same(one: Path, other: Path) -> bool:
    """Whether two names are of one file, or would be: links of both kinds are followed."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def _refuse_bad_target(target: Path, source: str, *, may_overwrite: bool) -> None:
    if target.suffix.lower() not in _JSONL_ENDINGS:
        raise ConfigError(f"--fix writes JSONL; expected a name that ends in .jsonl, found {target}.")
    _refuse_files_there([target, changes_path_of(target)], may_overwrite=may_overwrite)
    is_within = Path(source).is_dir() and Path(source).resolve() in target.resolve().parents
    matches = has_wildcard(source) and fnmatch(str(target.absolute()), str(Path(source).absolute()))
    if is_within or matches:
        raise ConfigError(
            f"{target} would be read as a part of {source} the next time.", hint="Name a file somewhere else."
        )


def _refuse_files_there(paths: list[Path], *, may_overwrite: bool) -> None:
    there = [path for path in paths if path.exists()]
    if there and not may_overwrite:
        raise ConfigError(f"{there[0]} is there already.", hint="Name another file, or add --force to overwrite it.")


def _refuse_files_of_other_splits(target: Path, written: dict[str, Path]) -> None:
    """A held-out file of an earlier repair would stay beside one without that split, and seem to be a part of it."""
    for split in HELD_OUT:
        path = held_out_path(target, split)
        if split not in written and path.exists():
            raise ConfigError(
                f"{path} is there, and this source has no {split} split of its own: it would seem to belong to "
                f"{target}.",
                hint="Move it away if you need it, or else delete it; or name another file for --fix.",
            )


def _keep_source_whole(targets: list[Path | None], store: ExampleStore) -> None:
    # A query's rows lie in the file of its database.
    files = [Path(file.name.removeprefix("sqlite:///").partition("?")[0]) for file in store.facts.files]
    for target in targets:
        if target is not None and any(_is_same(target, file) for file in files):
            raise ConfigError(f"{target} is the source itself, which is never changed.", hint="Name another file.")
