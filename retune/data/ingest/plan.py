"""What the processes that describe examples need to know; it travels with every block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from retune.config import ProviderKind, SplitConfig
from retune.data.dataset.columns import Column
from retune.data.dataset.example_store import SourceFacts
from retune.data.example.example import Method
from retune.data.formats.row_format import RowFormat
from retune.data.problems.problems import Finding, FindingTally, Problem, problem_at
from retune.data.sources.blocks import SourceFile, describe_location


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows become examples, and what is to be found out about each.

    Attributes:
        files: The source's files.
        format: Makes an example of a row.
        method: What the examples are to train.
        provider: Whose limits they must keep.
        encoding: Tokenizer of the base model.
        split: Its seed keys the hash of what an example asks, by which the stable split goes.
        checks: Look for problems; without, only what can't be read at all is found.
        counts_tokens: Count tokens.
        completes_prompts: The model learns prompts and their completions, and no conversations.
        cleans: Leave out of the examples what is not uploaded; see `retune.training_lines.cleaning`.
    """

    files: tuple[SourceFile, ...]
    row_format: RowFormat
    method: Method
    provider: ProviderKind
    encoding: str
    split: SplitConfig
    checks: bool = True
    counts_tokens: bool = True
    completes_prompts: bool = False
    cleans: bool = True

    def location(self, file: int, number: int) -> str:
        """Where a row is, for people: "row 12", with the file's name where there are several."""
        return describe_location(self.files, file, number)

    def facts(
        self,
        source: str,
        *,
        row_numbers: Mapping[int, tuple[int, int]] = MappingProxyType({}),
        unused: Sequence[str] = (),
    ) -> SourceFacts:
        """What is stored beside the examples.

        Args:
            source: What people call it.
            row_numbers: See `Source.row_numbers`.
            unused: Columns that reach no example.
        """
        return SourceFacts(
            source=source,
            files=list(self.files),
            row_numbers=dict(row_numbers),
            shape=self.row_format.title,
            unused=list(unused),
            method=self.method,
            provider=self.provider,
            encoding=self.encoding,
            seed=self.split.seed,
            checks=self.checks,
            counts_tokens=self.counts_tokens,
            split_column=self.row_format.split_column,
            group_column=self.row_format.group_column,
        )


def make_problem(plan: Plan, file: int, number: int | None, finding: Finding) -> Problem:
    """Turn a finding into a problem with its place, level and hint; without a number it is of the whole file."""
    name = plan.files[file].name
    location = name if number is None else plan.location(file, number)
    return problem_at(location, *finding, file=name, number=number)


def make_problems(plan: Plan, file: int, numbers: Column, tally: FindingTally) -> list[Problem]:
    """Turn the findings about a block's rows into problems, in the order of the rows.

    Args:
        plan: What is looked for.
        file: Index of the block's file.
        numbers: Of the rows.
        tally: What was found.
    """
    in_order = sorted(tally.kept, key=lambda pair: pair[0])
    return [make_problem(plan, file, int(numbers[index]), finding) for index, finding in in_order]
