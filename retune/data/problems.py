"""What the checks can find, and the report of what they found."""

from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, computed_field

from retune.errors import CheckError

Level = Literal["error", "warning"]

_SHOWN_PER_KIND = 3


class Rule(NamedTuple):
    """One kind of problem: how much it matters, and how to mend it."""

    level: Level
    hint: str


RULES: dict[str, Rule] = {
    "too_few_examples": Rule("error", "Add examples; 50 to 100 good ones are a fair start."),
    "missing_messages": Rule("error", 'Give every example a list of messages: {"messages": [{"role": …}, …]}.'),
    "message_not_object": Rule("error", 'Write every message as an object: {"role": "user", "content": "…"}.'),
    "unknown_role": Rule("error", "Rename the role."),
    "unknown_key": Rule("error", "Remove the key or mend its spelling."),
    "missing_content": Rule("error", "Fill the cell in or remove the example."),
    "empty_content": Rule("error", "Fill the cell in or remove the example."),
    "content_not_text": Rule("error", "Write the content as text, or as a list of content parts."),
    "no_assistant_message": Rule("error", "End the conversation with the answer that the model should learn."),
    "unknown_example_key": Rule("warning", "Remove the key: a provider may refuse the file for it."),
    "last_message_not_assistant": Rule("warning", "Messages after the last answer teach nothing; end with the answer."),
    "duplicate_example": Rule("warning", "Keep one of them, unless it should weigh more."),
    "conflicting_answers": Rule("warning", "Decide on one answer; the model can't learn both."),
    "same_answer_everywhere": Rule("warning", "Check the assistant column: there is nothing to tell apart."),
}
"""Every kind of problem, the gravest first."""


class Problem(BaseModel):
    """One thing that is wrong.

    Attributes:
        kind: A key of `RULES`.
        level: An `error` stops the run, a `warning` doesn't.
        location: Where in the source: "row 12", "line 12" or "all examples".
        message: What was found and what is allowed.
        hint: How to mend it.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    level: Level
    location: str
    message: str
    hint: str


class CheckReport(BaseModel):
    """Everything that one pass over the examples found.

    Attributes:
        n_examples: How many examples were checked.
        problems: All of them, grouped by kind, errors before warnings.
    """

    model_config = ConfigDict(frozen=True)

    n_examples: int
    problems: list[Problem]

    @computed_field  # type: ignore[prop-decorator]  # mypy can't decorate properties; pydantic documents it so
    @property
    def counts(self) -> dict[str, int]:
        """How many problems of each kind."""
        return dict(Counter(problem.kind for problem in self.problems))

    @property
    def errors(self) -> list[Problem]:
        """The problems that stop a run."""
        return [problem for problem in self.problems if problem.level == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that don't."""
        return [problem for problem in self.problems if problem.level == "warning"]

    def summarize_warnings(self) -> list[str]:
        """One line for each kind of warning: "duplicate_example: 12"."""
        return [f"{kind}: {count}" for kind, count in self.counts.items() if RULES[kind].level == "warning"]

    def raise_for_errors(self) -> None:
        """Do nothing if there are no errors.

        Raises:
            CheckError: How many of each kind there are, and the first three of each with their places.
        """
        errors = self.errors
        if not errors:
            return
        kinds = dict.fromkeys(problem.kind for problem in errors)
        lines = [f"The checks found {_counted(len(errors), 'error')} in {_counted(self.n_examples, 'example')}."]
        for kind in kinds:
            lines += _describe([problem for problem in errors if problem.kind == kind])
        raise CheckError("\n".join(lines))


def grouped(problems: Iterable[Problem]) -> list[Problem]:
    """Sort by kind in the order of `RULES`; within a kind the order stays."""
    order = {kind: place for place, kind in enumerate(RULES)}
    return sorted(problems, key=lambda problem: order[problem.kind])


def _describe(problems: list[Problem]) -> list[str]:
    shown = problems[:_SHOWN_PER_KIND]
    more = len(problems) - len(shown)
    return [
        f"{problems[0].kind}: {len(problems)}",
        *(f"  {problem.location}: {problem.message}" for problem in shown),
        *([f"  and {more} more"] if more else []),
        f"  → {problems[0].hint}",
    ]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
