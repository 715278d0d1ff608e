"""What a check of a source found: the value that `retune.check` returns and `retune check --json` prints."""

from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from retune.config import ProviderKind, SplitConfig
from retune.data.cost.estimate import CostEstimate, refuse_if_too_expensive
from retune.data.cost.model_dates import ModelDates, refuse_if_ended
from retune.data.cost.tokens import TokenFacts
from retune.data.dataset.example_store import StoreFacts
from retune.data.dataset_checks.report import CheckReport, LabelFacts
from retune.data.example.example import Method
from retune.data.example.fixes import CHANGES
from retune.data.problems.problems import ProblemGroup
from retune.data.problems.rules import Change
from retune.data.repair.repair import Repaired
from retune.data.sources.blocks import SourceFile
from retune.errors import ConfigError


class TokenBin(BaseModel):
    """A bar of the histogram of tokens per example.

    Attributes:
        at_most: Upper bound in tokens, inclusive; the bound of the bar before is the lower one, exclusive.
        examples: How many examples lie between them.
    """

    model_config = ConfigDict(frozen=True)

    at_most: int
    examples: int


class FixResult(BaseModel):
    """What `fix` wrote.

    Attributes:
        path: The repaired examples, chat JSONL.
        changes: JSONL beside it with a line for every change.
        held_out: Files of the splits that the source declares, by split: validation, test.
        n_read: Examples that were read.
        n_written: Examples that were written to `path`.
        counts: How often each change was made.
        split: How `path` is to be split, where the columns that the settings split by are not in it; else None.
    """

    model_config = ConfigDict(frozen=True)

    path: Path
    changes: Path
    held_out: dict[str, Path]
    n_read: int
    n_written: int
    counts: dict[Change, int]
    split: SplitConfig | None = Field(None, exclude=True)

    @classmethod
    def of(cls, repaired: Repaired, split: SplitConfig | None) -> "FixResult":
        """The public form of what a repair returned."""
        return cls(
            path=repaired.path,
            changes=repaired.changes_path,
            held_out=repaired.held_out,
            n_read=repaired.n_read,
            n_written=repaired.n_written,
            counts=dict(repaired.counts),
            split=split,
        )

    def summary(self) -> list[tuple[str, str, int]]:
        """What was changed, how, and how often, without the changes that were not made."""
        return [(noun, done, n) for change, (noun, done) in CHANGES.items() if (n := self.counts.get(change))]


class CheckResult(BaseModel):
    """What a check found, of the source or, with `fix`, of the repaired file.

    Attributes:
        exit_status: 0 if a run would start training, 1 if it would stop before the upload: there are errors, it costs
            more than `max_cost_usd`, or the provider has ended the base model.
        n_errors: Number of errors, which stop a run.
        n_warnings: Number of warnings, which don't.
        files: The files that were read, with format, size in bytes and columns.
        provider: The provider whose limits and prices apply.
        source: The source's name, without secrets.
        shape: What the rows hold.
        unused: Columns and keys that reach no example, the first 100.
        method: The training method that the examples are for.
        model: The base model that they were checked for.
        n_examples: Number of examples.
        tokens: Tokens of the examples: total, minimum, median, 95th percentile and maximum; None if not counted.
        token_histogram: Examples by their number of tokens.
        labels: How often each answer occurs; None if the answers don't look like labels.
        splits: Number of valid examples in train, validation and test; None if they can't be split.
        split_origins: Where each split comes from: declared by the source, or drawn; None if they can't be split.
        cost: What the training will cost; None if nothing can be trained.
        groups: The problems by kind, errors first; each with its count, the way to fix it and the first 20 places.
        not_applied: Checks that could not be applied, by name, and why.
        max_cost_usd: The setting; None for no limit.
        is_too_expensive: The cost exceeds `max_cost_usd`, or is not known and there is a limit.
        dates: When the provider ends the base model; None if nothing is published.
        has_ended: A run would be refused for these dates.
        report: JSON file with up to 1,000 problems of each kind; None if none was asked for.
        fix: What was repaired; None if nothing was asked for.
        refusal: The error with which a run would stop for its cost or the model's dates.
        today: The day in UTC that the dates were compared with.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    exit_status: int
    n_errors: int
    n_warnings: int
    files: list[SourceFile]
    provider: ProviderKind
    source: str
    shape: str
    unused: list[str]
    method: Method
    model: str
    n_examples: int
    tokens: TokenFacts | None
    token_histogram: list[TokenBin]
    labels: LabelFacts | None
    splits: dict[str, int] | None
    split_origins: dict[str, str] | None
    cost: CostEstimate | None
    groups: list[ProblemGroup]
    not_applied: dict[str, str]
    max_cost_usd: float | None
    is_too_expensive: bool
    dates: ModelDates | None
    has_ended: bool
    report: Path | None
    fix: FixResult | None
    refusal: ConfigError | None = Field(exclude=True)
    today: date = Field(exclude=True)

    @property
    def ok(self) -> bool:
        """Whether a run would start training."""
        return self.exit_status == 0

    @classmethod
    def of(
        cls,
        report: CheckReport,
        facts: StoreFacts,
        *,
        report_path: Path | None,
        fix: FixResult | None,
        max_cost_usd: float | None,
        dates: ModelDates | None,
        ignore_dates: bool,
        today: date,
    ) -> "CheckResult":
        """Put together what was found and what a run would make of it."""
        ended = _refusal_for_dates(dates, ignore_dates=ignore_dates, today=today)
        too_expensive = _refusal_for_cost(report.cost, max_cost_usd)
        found = {name: value for name, value in report if name in cls.model_fields}
        return cls.model_validate(
            {
                **found,
                "exit_status": int(report.n_errors > 0 or ended is not None or too_expensive is not None),
                "n_errors": report.n_errors,
                "n_warnings": report.n_warnings,
                "files": facts.files,
                "provider": facts.provider,
                "token_histogram": [TokenBin(at_most=bound, examples=n) for bound, n in report.token_histogram],
                "max_cost_usd": max_cost_usd,
                "is_too_expensive": too_expensive is not None,
                "dates": dates,
                "has_ended": ended is not None,
                "report": report_path,
                "fix": fix,
                "refusal": ended or too_expensive,
                "today": today,
            }
        )


def _refusal_for_dates(dates: ModelDates | None, *, ignore_dates: bool, today: date) -> ConfigError | None:
    try:
        refuse_if_ended(dates, today=today, ignore_dates=ignore_dates)
    except ConfigError as error:
        return error
    return None


def _refusal_for_cost(cost: CostEstimate | None, max_cost_usd: float | None) -> ConfigError | None:
    if cost is None or max_cost_usd is None:
        return None
    try:
        refuse_if_too_expensive(cost, max_cost_usd)
    except ConfigError as error:
        return error
    return None
