"""Checking a source: read it, repair it if asked to, and find everything that would stop a run or cost money."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatch
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple

from retune.check_result import CheckResult, FixResult
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
from retune.config_file import parse_config
from retune.data.cost.base_models import completes_prompts
from retune.data.cost.model_dates import find_dates, utc_today
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset_checks.check import check_store
from retune.data.example.example import Method
from retune.data.ingest.load import LoadOptions, load_examples
from retune.data.repair.repair import (
    HELD_OUT,
    Repaired,
    changes_path_of,
    declared_splits,
    held_out_path,
    held_out_paths,
    repair_examples,
)
from retune.data.sources.files.found_files import has_wildcard
from retune.data.splits.split import split_all_examples
from retune.errors import ConfigError
from retune.provider.endpoint import resolve_endpoint
from retune.staging import CHECK_PREFIX, staging_directory

_JSONL_ENDINGS = {".jsonl", ".ndjson"}
_SHAPE_BY_METHOD: dict[Method, ExampleShape] = {
    "supervised": ExampleShape.MESSAGES,
    "dpo": ExampleShape.PREFERENCE,
    "reinforcement": ExampleShape.REINFORCEMENT,
}


class CheckProgress(NamedTuple):
    """How far a check is.

    Attributes:
        step: What is being done.
        done: Bytes of the source that were read, or examples that were repaired; 0 when a step begins.
        total: How many there are; None if not known.
    """

    step: Literal["reading", "repairing", "comparing"]
    done: int = 0
    total: int | None = None


OnProgress = Callable[[CheckProgress], None]


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What to check, and how.

    Attributes:
        settings: The source, its split, the training.
        method: Method that the examples are for; None for the one that their shape is for.
        provider: Provider whose limits and prices apply; None for the one that would train.
        report_path: JSON file to write up to 1,000 problems of each kind to; None for none.
        fix: JSONL file to write the repaired examples to; None to repair nothing.
        may_overwrite: Overwrite `fix` if it exists.
        today: Day in UTC to compare the base model's dates with.
    """

    settings: RetrainConfig
    method: Method | None
    provider: ProviderKind | None
    report_path: Path | None
    fix: Path | None
    may_overwrite: bool
    today: date


def check(
    source: str | PathLike[str] | RetrainConfig,
    *,
    method: Method | None = None,
    provider: ProviderKind | None = None,
    report: str | PathLike[str] | None = None,
    fix: str | PathLike[str] | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = lambda _progress: None,
) -> CheckResult:
    """Check examples without an account or network: what is wrong with them, and what training on them will cost.

    The source is never changed. Problems of the data don't raise an error; they are in the result.

    Args:
        source: File, folder, pattern or address of the examples; or settings, which may also name columns, the split
            and the base model.
        method: Method that the examples are for; by default the one that their shape is for.
        provider: Provider whose limits and prices apply; by default the one that would train.
        report: JSON file to write up to 1,000 problems of each kind to.
        fix: JSONL file to write the examples to with all safe repairs made; the result then describes that file.
        overwrite: Overwrite `fix` if it exists.
        on_progress: Called several times a second while a large source is read or repaired.

    Raises:
        ConfigError: A setting is not valid, or a file can't be written where it should be.
        SourceError: The source can't be read.
        CheckError: It can't be repaired without losing rows.
        RunDirectoryError: The directory for temporary files is full or not writable.
    """
    settings = source if isinstance(source, RetrainConfig) else parse_config({"data": {"source": str(source)}})
    report_path, fixed = (None if path is None else Path(path) for path in (report, fix))
    request = CheckRequest(settings, method, provider, report_path, fixed, may_overwrite=overwrite, today=utc_today())
    with staging_directory(Path(tempfile.gettempdir()), prefix=CHECK_PREFIX) as directory:
        return check_source(request, directory, on_progress)


def check_source(request: CheckRequest, directory: Path, on_progress: OnProgress) -> CheckResult:
    """Check a source, or repair it and check the repaired file.

    Args:
        request: What to check.
        directory: Empty directory for temporary files.
        on_progress: See `check`.

    Raises:
        RetuneError: See `check`.
    """
    settings = request.settings
    repaired = None
    _refuse_bad_outputs(request)
    if request.fix is not None:
        _refuse_bad_target(request.fix, settings.data.source, may_overwrite=request.may_overwrite)
        repaired, settings = _repair(request, request.fix, directory / "source", on_progress)
    store = _load(settings, request, directory / "examples", on_progress)
    _keep_source_whole([request.report_path], store)
    on_progress(CheckProgress("comparing"))
    report = check_store(
        store,
        settings.split,
        model=settings.training.model,
        n_epochs=settings.training.hyperparameters.n_epochs,
        path=request.report_path or directory / "report.json",
        is_private=request.report_path is None,
    )
    limit = settings.training.max_cost_usd
    split = settings.split if settings.split != request.settings.split else None
    return CheckResult.of(
        report,
        store.facts,
        report_path=request.report_path,
        fix=None if repaired is None else FixResult.of(repaired, split),
        max_cost_usd=None if limit == "unlimited" else limit,
        dates=find_dates(settings.training.model, store.facts.provider),
        ignore_dates=settings.training.ignore_dates,
        today=request.today,
    )


def _load(
    settings: RetrainConfig,
    request: CheckRequest,
    directory: Path,
    on_progress: OnProgress,
    *,
    for_repair: bool = False,
) -> ExampleStore:
    options = LoadOptions(
        model=settings.training.model,
        method=request.method,
        provider=request.provider or _who_trains(settings),
        counts_tokens=not for_repair,
        cleans=not for_repair,
    )
    on_progress(CheckProgress("reading"))
    return load_examples(
        settings.data,
        settings.split,
        options,
        directory,
        on_progress=lambda done, total: on_progress(CheckProgress("reading", done, total)),
    )


def _who_trains(settings: RetrainConfig) -> ProviderKind:
    """Whoever `retune run` would go to; for a model that only OpenAI has, and no address, OpenAI."""
    endpoint = resolve_endpoint(settings.provider)
    if endpoint is not None:
        return endpoint.kind
    return "retune" if settings.training.model == LOCAL_MODEL else "openai"


def _repair(
    request: CheckRequest, target: Path, directory: Path, on_progress: OnProgress
) -> tuple[Repaired, RetrainConfig]:
    store = _load(request.settings, request, directory, on_progress, for_repair=True)
    split = request.settings.split
    goes_by_column = split.column is not None or split.stratify_column is not None
    # The new file holds conversations alone: what goes by a column is split before.
    is_drawn = goes_by_column and split.method is not SplitMethod.COLUMN
    splits = split_all_examples(store, split) if is_drawn else declared_splits(store)
    others = held_out_paths(splits, target)
    _refuse_files_of_other_splits(target, others)
    _refuse_files_there([*others.values()], may_overwrite=request.may_overwrite)
    _keep_source_whole([target, changes_path_of(target), *others.values(), request.report_path], store)
    on_progress(CheckProgress("repairing"))
    repaired = repair_examples(
        store,
        target,
        splits=splits,
        on_progress=lambda done, total: on_progress(CheckProgress("repairing", done, total)),
    )
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
            raise ConfigError(
                f"{flag} {path}: the directory {path.parent} does not exist.", hint="Create it, or correct the name."
            )
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
        raise ConfigError(
            f"{there[0]} already exists.",
            hint="Name another file, or overwrite it: --force, from Python overwrite=True.",
        )


def _refuse_files_of_other_splits(target: Path, written: dict[str, Path]) -> None:
    """A held-out file of an earlier repair would stay beside one without that split, and seem to be a part of it."""
    for split in HELD_OUT:
        path = held_out_path(target, split)
        if split not in written and path.exists():
            raise ConfigError(
                f"{path} exists, but this source has no {split} split: the file would seem to belong to {target}.",
                hint="Move it away if you need it, or else delete it; or name another file for --fix.",
            )


def _keep_source_whole(targets: list[Path | None], store: ExampleStore) -> None:
    # A query's rows lie in the file of its database.
    files = [Path(file.name.removeprefix("sqlite:///").partition("?")[0]) for file in store.facts.files]
    for target in targets:
        if target is not None and any(_is_same(target, file) for file in files):
            raise ConfigError(f"{target} is the source itself, which is never changed.", hint="Name another file.")
