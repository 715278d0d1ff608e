"""What one pass over the examples found: counts and first places in memory, and 1,000 problems of a kind in a file."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, computed_field

from retune.data.cost.estimate import CostEstimate
from retune.data.cost.tokens import TokenFacts
from retune.data.example.example import Method
from retune.data.problems.problems import ProblemGroup
from retune.errors import CheckError
from retune.files import atomic_write

_SHOWN_PER_KIND = 3


class LabelFacts(BaseModel):
    """What the answers look like, where they look like the labels of a classification.

    Attributes:
        counts: How many examples have each label, the most frequent first; at most 1,000 different answers are counted.
        seen_once: Labels that only one example has.
        are_lists: The answers are JSON lists of labels, whose order doesn't matter; an example has all in its list.
    """

    model_config = ConfigDict(frozen=True)

    counts: dict[str, int]
    seen_once: list[str]
    are_lists: bool = False


class CheckReport(BaseModel):
    """Everything that was found.

    Attributes:
        source: What people call the source.
        shape: What its rows hold.
        unused: Columns and keys of the source that reach no example; the first 100.
        method: What the examples can train.
        model: The base model that they were checked for.
        n_examples: How many examples were checked.
        tokens: Of all examples; None where they were not counted.
        token_histogram: Upper bounds in tokens and how many examples have at most so many, and more than the bound
            before.
        labels: None where the answers don't look like labels.
        splits: How many valid examples go to each split; None where they can't be assigned.
        split_origins: Where each split comes from, in words; None where they can't be assigned.
        cost: None where nothing can be trained.
        groups: Problems by their kind: errors before warnings, else in the order of `RULES`.
        not_applied: Checks that could not apply, by name, and why.
        problems_file: JSON file with the problems, the first 1,000 of each kind.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    shape: str
    unused: list[str] = []
    method: Method
    model: str
    n_examples: int
    tokens: TokenFacts | None
    token_histogram: list[tuple[int, int]]
    labels: LabelFacts | None
    splits: dict[str, int] | None
    split_origins: dict[str, str] | None = None
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
        """How many problems are worth a look and stop nothing."""
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


def write_report(path: Path, report: CheckReport, *problems: Path, is_private: bool = True) -> None:
    """Write the report as JSON, and in it the problems that were kept, streamed from collectors' files.

    Args:
        path: The file.
        report: What was found.
        problems: The collectors' files.
        is_private: See `atomic_write`.

    Raises:
        OSError: The file can't be written.
    """
    head = json.dumps(report.model_dump(mode="json", exclude={"groups"}), ensure_ascii=False, indent=2)
    with atomic_write(path, is_private=is_private) as stream:
        stream.write(head.removesuffix("\n}").encode() + b',\n  "problems": [')
        separator = b"\n    "
        for file in problems:
            with file.open("rb") as lines:
                for line in lines:
                    stream.write(separator + line.rstrip(b"\n"))
                    separator = b",\n    "
        stream.write(b"\n  ]\n}\n")


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
