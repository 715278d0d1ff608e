"""What the processes that describe examples need to know; it travels with every block."""

from dataclasses import dataclass

from retune.config import ProviderKind, SplitConfig
from retune.data.dataset.columns import Column
from retune.data.example.example import Method
from retune.data.formats.shape import Shape
from retune.data.problems.problems import FindingTally, Problem, problem_at
from retune.data.sources.blocks import Finding, SourceFile, describe_location


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows become examples, and what is to be found out about each.

    Attributes:
        files: The source's files.
        shape: Makes an example of a row.
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
    shape: Shape
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


def make_problem(plan: Plan, file: int, number: int | None, finding: Finding) -> Problem:
    """Say where a finding is, how much it matters and how to mend it; without a number it is of the whole file."""
    name = plan.files[file].name
    location = name if number is None else plan.location(file, number)
    return problem_at(location, *finding, file=name, number=number)


def make_problems(plan: Plan, file: int, numbers: Column, tally: FindingTally) -> list[Problem]:
    """Say where the findings about a block's rows are, in the order of the rows.

    Args:
        plan: What is looked for.
        file: Index of the block's file.
        numbers: Of the rows.
        tally: What was found.
    """
    in_order = sorted(tally.kept, key=lambda pair: pair[0])
    return [make_problem(plan, file, int(numbers[index]), finding) for index, finding in in_order]
