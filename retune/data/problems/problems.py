"""What is wrong, and where: counts and first places in memory, the first problems of each kind in a file."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, starmap
from pathlib import Path
from typing import NamedTuple, get_args

from pydantic import BaseModel, ConfigDict

from retune.data.problems.rules import MOST_KEPT_PER_KIND, RULES, Level
from retune.private_files import make_private_directory, private_opener

EVERYWHERE = "all examples"
_LEVELS = get_args(Level)


_SHOWN_PER_KIND = 20
_LONGEST_MESSAGE = 2_000


class Finding(NamedTuple):
    """Something wrong with one row, before it is known where the row stands.

    Attributes:
        kind: A key of `RULES`.
        message: What was found and what is allowed.
    """

    kind: str
    message: str


class FileNote(NamedTuple):
    """Something that is odd about the text of a whole file.

    Attributes:
        file: Index of the file in `Source.files`.
        finding: What it is.
    """

    file: int
    finding: Finding


class Problem(BaseModel):
    """One thing that is wrong.

    Attributes:
        kind: A key of `RULES`.
        level: An `error` stops the run, nothing else does.
        location: Where in the source, for people: "row 12", "b.csv, line 12" or "all examples".
        message: What was found and what is allowed.
        hint: How to fix it.
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
    """A problem with its place; how much it matters, and how to fix it, is its kind's."""
    rule = RULES[kind]
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[: _LONGEST_MESSAGE - 1]}…"
    return Problem(
        kind=kind, level=rule.level, location=location, message=message, hint=rule.hint, file=file, number=number
    )


def everywhere(kind: str, message: str) -> Problem:
    """A problem of the examples as a whole."""
    return problem_at(EVERYWHERE, kind, message)


class Further(NamedTuple):
    """Problems of one kind that are counted and not kept."""

    kind: str
    number: int


class FindingTally:
    """Findings of one block's rows: the first of each kind, and how many more there are.

    Attributes:
        kept: The rows' indices and what was found, for each kind in the order in which it was found.
        n_more: How many there are of each kind that are not kept.

    Args:
        n_more: What was counted before.
    """

    def __init__(self, n_more: Counter[str] | None = None) -> None:
        self.kept: list[tuple[int, Finding]] = []
        self.n_more: Counter[str] = Counter(n_more)
        self._limit = _Limit()

    def add(self, index: int, finding: Finding) -> None:
        """Take a finding about a row."""
        if self._limit.admits(*finding):
            self.kept.append((index, finding))
        else:
            self.n_more[finding.kind] += 1

    def further(self) -> list[Further]:
        """What was counted and not kept."""
        return list(starmap(Further, self.n_more.items()))


class _Limit:
    """Decides what is kept: the first of each kind, and of what is said once each message once."""

    def __init__(self) -> None:
        self._kept: Counter[str] = Counter()
        self._said: set[tuple[str, str]] = set()

    def admits(self, kind: str, message: str) -> bool:
        if self._kept[kind] >= MOST_KEPT_PER_KIND or (kind, message) in self._said:
            return False
        if RULES[kind].is_said_once:
            self._said.add((kind, message))
        self._kept[kind] += 1
        return True


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
    """Takes problems one by one, in any number: all are counted, and the first of each kind go to a file.

    Problems of a whole file, or of all examples, are all kept: there are no more of them than files.

    Args:
        path: JSONL file, a line for each problem that is kept; opened for writing at once.
    """

    def __init__(self, path: Path) -> None:
        make_private_directory(path.parent)
        self._stream = open(path, "wb", opener=private_opener)  # noqa: SIM115 - closed by its owner
        self._counts: Counter[str] = Counter()
        self._first: dict[str, list[Problem]] = {}
        self._limit = _Limit()

    def add(self, problems: Iterable[Problem | Further]) -> None:
        """Take problems.

        Raises:
            OSError: The file can't be written.
        """
        for problem in problems:
            if isinstance(problem, Further):
                self._counts[problem.kind] += problem.number
                continue
            self._counts[problem.kind] += 1
            if problem.number is not None and not self._limit.admits(problem.kind, problem.message):
                continue
            first = self._first.setdefault(problem.kind, [])
            if len(first) < _SHOWN_PER_KIND:
                first.append(problem)
            self._stream.write(problem.model_dump_json().encode() + b"\n")

    @property
    def n_errors(self) -> int:
        """How many errors there were."""
        return sum(count for kind, count in self._counts.items() if RULES[kind].level == "error")

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
    first = [*one.first, *other.first][:_SHOWN_PER_KIND]
    return one.model_copy(update={"count": one.count + other.count, "first": first})
