"""What one pass over the examples found: counts and first places in memory, every single problem in a file."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from pydantic import BaseModel, ConfigDict, computed_field

from retune.data.checks.rules import RULES, Level
from retune.data.examples import Method
from retune.data.tokens import TokenFacts
from retune.errors import CheckError
from retune.files import atomic_write

EVERYWHERE = "all examples"

_KEPT_PER_KIND = 20
_SHOWN_PER_KIND = 3


class Problem(BaseModel):
    """One thing that is wrong.

    Attributes:
        kind: A key of `RULES`.
        level: An `error` stops the run, a `warning` doesn't.
        location: Where in the source, for people: "row 12", "b.csv, line 12" or "all examples".
        message: What was found and what is allowed.
        hint: How to mend it.
        file: The file's name; None for what concerns all examples.
        number: The row or line in it; None as above.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    level: Level
    location: str
    message: str
    hint: str
    file: str | None = None
    number: int | None = None


def everywhere(kind: str, message: str) -> Problem:
    """A problem of the examples as a whole."""
    rule = RULES[kind]
    return Problem(kind=kind, level=rule.level, location=EVERYWHERE, message=message, hint=rule.hint)


class ProblemGroup(BaseModel):
    """All problems of one kind.

    Attributes:
        first: The first 20 of them, in the order of the source.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    level: Level
    count: int
    hint: str
    first: list[Problem]


class LabelFacts(BaseModel):
    """What the answers look like, where they look like the labels of a classification.

    Attributes:
        counts: How many examples have each label, the most frequent first; at most 1,000.
        seen_once: Labels that only one example has.
    """

    model_config = ConfigDict(frozen=True)

    counts: dict[str, int]
    seen_once: list[str]


class CostEstimate(BaseModel):
    """What the training will cost at the provider.

    Attributes:
        usd: None where no price of the model is known, or training is billed by something that isn't known beforehand.
        training_tokens: Tokens of the training split in one epoch, without what is cut off of long examples.
        n_epochs: Passes over it.
        is_auto: The number of passes is the provider's choice, by its published rule.
        prices_as_of: Date of the price table.
        prices_source: Where the prices are from.
        usd_per_million_tokens: The price that it was computed with.
        note: Why there is no price, or what makes it less than certain, as a sentence.
    """

    model_config = ConfigDict(frozen=True)

    usd: float | None
    training_tokens: int
    n_epochs: int
    is_auto: bool
    prices_as_of: str
    prices_source: str
    usd_per_million_tokens: float | None = None
    note: str | None = None


class CheckReport(BaseModel):
    """Everything that was found.

    Attributes:
        source: What people call the source.
        shape: What its rows hold.
        method: What the examples can train.
        model: The base model that they were checked for.
        n_examples: How many examples were checked.
        tokens: Of all examples; None where they were not counted.
        token_histogram: Upper bounds in tokens and how many examples have at most so many, and more than the bound
            before.
        labels: None where the answers don't look like labels.
        splits: How many sound examples go to each split; None where they can't be dealt.
        cost: None where nothing can be trained.
        groups: Problems by their kind: errors before warnings, else in the order of `RULES`.
        not_applied: Checks that could not apply, by name, and why.
        problems_file: JSON file with every single problem.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    shape: str
    method: Method
    model: str
    n_examples: int
    tokens: TokenFacts | None
    token_histogram: list[tuple[int, int]]
    labels: LabelFacts | None
    splits: dict[str, int] | None
    cost: CostEstimate | None
    groups: list[ProblemGroup]
    not_applied: dict[str, str]
    problems_file: Path

    @computed_field  # type: ignore[prop-decorator]  # mypy can't decorate properties; pydantic documents it so
    @property
    def counts(self) -> dict[str, int]:
        """How many problems of each kind."""
        return {group.kind: group.count for group in self.groups}

    @property
    def n_errors(self) -> int:
        """How many problems stop a run."""
        return sum(group.count for group in self.groups if group.level == "error")

    @property
    def n_warnings(self) -> int:
        """How many problems don't."""
        return sum(group.count for group in self.groups if group.level == "warning")

    def summarize_warnings(self) -> list[str]:
        """One line for each kind of warning: "duplicate_example: 12"."""
        return [f"{group.kind}: {group.count:,}" for group in self.groups if group.level == "warning"]

    def raise_for_errors(self) -> None:
        """Do nothing if there are no errors.

        Raises:
            CheckError: How many of each kind there are, and the first three of each with their places.
        """
        if not self.n_errors:
            return
        lines = [f"The checks found {_counted(self.n_errors, 'error')} in {_counted(self.n_examples, 'example')}."]
        for group in self.groups:
            if group.level == "error":
                lines += _describe(group)
        raise CheckError("\n".join(lines))


class ProblemCollector:
    """Takes problems one by one, in any number: all go to a file, counts and the first of each kind stay in memory.

    Args:
        path: JSONL file, a line for each problem; opened for writing at once.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("wb")
        self._counts: dict[str, int] = {}
        self._first: dict[str, list[Problem]] = {}

    def add(self, problems: Iterable[Problem]) -> None:
        """Take problems.

        Raises:
            OSError: The file can't be written.
        """
        for problem in problems:
            self._counts[problem.kind] = self._counts.get(problem.kind, 0) + 1
            first = self._first.setdefault(problem.kind, [])
            if len(first) < _KEPT_PER_KIND:
                first.append(problem)
            self._stream.write(problem.model_dump_json().encode() + b"\n")

    def close(self) -> None:
        """Write what is still buffered and close the file."""
        self._stream.close()

    def groups(self) -> list[ProblemGroup]:
        """What was taken, by kind: errors before warnings, else in the order of `RULES`."""
        return [
            ProblemGroup(
                kind=kind, level=RULES[kind].level, count=self._counts[kind], hint=RULES[kind].hint, first=first
            )
            for kind in _kinds_in_order()
            if (first := self._first.get(kind))
        ]


def merge_groups(*several: list[ProblemGroup]) -> list[ProblemGroup]:
    """Put groups of the same kind together, in the order of `ProblemCollector.groups`."""
    by_kind: dict[str, ProblemGroup] = {}
    for group in chain.from_iterable(several):
        known = by_kind.get(group.kind)
        by_kind[group.kind] = group if known is None else _join(known, group)
    return [by_kind[kind] for kind in _kinds_in_order() if kind in by_kind]


def read_problems(path: Path) -> Iterator[Problem]:
    """Read what a `ProblemCollector` wrote."""
    with path.open("rb") as stream:
        for line in stream:
            yield Problem.model_validate_json(line)


def write_report(path: Path, report: CheckReport, *problems: Path) -> None:
    """Write the report as JSON, and in it every single problem, streamed from collectors' files.

    Raises:
        OSError: The file can't be written.
    """
    head = json.dumps(report.model_dump(mode="json", exclude={"groups"}), ensure_ascii=False, indent=2)
    with atomic_write(path) as stream:
        stream.write(head.removesuffix("\n}").encode() + b',\n  "problems": [')
        separator = b"\n    "
        for file in problems:
            with file.open("rb") as lines:
                for line in lines:
                    stream.write(separator + line.rstrip(b"\n"))
                    separator = b",\n    "
        stream.write(b"\n  ]\n}\n")


def _kinds_in_order() -> list[str]:
    return sorted(RULES, key=lambda kind: RULES[kind].level)


def _join(one: ProblemGroup, other: ProblemGroup) -> ProblemGroup:
    first = [*one.first, *other.first][:_KEPT_PER_KIND]
    return one.model_copy(update={"count": one.count + other.count, "first": first})


def _describe(group: ProblemGroup) -> list[str]:
    shown = group.first[:_SHOWN_PER_KIND]
    more = group.count - len(shown)
    return [
        f"{group.kind}: {group.count:,}",
        *(f"  {problem.location}: {problem.message}" for problem in shown),
        *([f"  and {more:,} more"] if more else []),
        f"  → {group.hint}",
    ]


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
