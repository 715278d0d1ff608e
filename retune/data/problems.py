"""What is wrong, and where: counts and first places in memory, every single problem in a file."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ConfigDict

from retune.data.rules import RULES, Level
from retune.private_files import make_private_directory, private_opener

EVERYWHERE = "all examples"
_LEVELS = get_args(Level)


_KEPT_PER_KIND = 20


class Problem(BaseModel):
    """One thing that is wrong.

    Attributes:
        kind: A key of `RULES`.
        level: An `error` stops the run, nothing else does.
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


def problem_at(
    location: str, kind: str, message: str, *, file: str | None = None, number: int | None = None
) -> Problem:
    """A problem with its place; how much it matters, and how to mend it, is its kind's."""
    rule = RULES[kind]
    return Problem(
        kind=kind, level=rule.level, location=location, message=message, hint=rule.hint, file=file, number=number
    )


def everywhere(kind: str, message: str) -> Problem:
    """A problem of the examples as a whole."""
    return problem_at(EVERYWHERE, kind, message)


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


class ProblemCollector:
    """Takes problems one by one, in any number: all go to a file, counts and the first of each kind stay in memory.

    Args:
        path: JSONL file, a line for each problem; opened for writing at once.
    """

    def __init__(self, path: Path) -> None:
        make_private_directory(path.parent)
        self._stream = open(path, "wb", opener=private_opener)  # noqa: SIM115 - closed by its owner
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
        """What was taken, by kind: by their level, else in the order of `RULES`."""
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


def _kinds_in_order() -> list[str]:
    return sorted(RULES, key=lambda kind: _LEVELS.index(RULES[kind].level))


def _join(one: ProblemGroup, other: ProblemGroup) -> ProblemGroup:
    first = [*one.first, *other.first][:_KEPT_PER_KIND]
    return one.model_copy(update={"count": one.count + other.count, "first": first})
