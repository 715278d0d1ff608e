"""Columns that name the split of a row."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from retune.config import SplitConfig, SplitMethod
from retune.data.example.example import SplitKeys
from retune.data.formats.cells import cell_text
from retune.data.problems.problems import Finding
from retune.data.sources.split_names import flag_named, flag_said, is_split_column, split_named
from retune.redaction.masking import shown
from retune.training_lines.keys import JsonMapping

_HELD_OUT = ("test", "validation")


@dataclass(frozen=True, slots=True)
class SplitColumns:
    """The columns that a split goes by; None where it goes by no such column.

    Attributes:
        group: Rows that share its value stay together.
        stratum: The mixture of its values is the same in every split.
        side: It says train, validation or test.
        flags: They say yes or no of one split each: is_test. Nobody named them: their names and cells tell it.
        is_found: Nobody named `side`: its name and its cells tell that it is one.
    """

    group: str | None = None
    stratum: str | None = None
    declared_split: str | None = None
    flags: tuple[str, ...] = ()
    is_found: bool = False

    @classmethod
    def of(cls, split: SplitConfig) -> Self:
        """The columns that the settings name."""
        return cls(
            group=split.column if split.method is SplitMethod.GROUP else None,
            stratum=split.stratify_column,
            declared_split=split.column if split.method is SplitMethod.COLUMN else None,
        )

    def with_found(self, columns: Sequence[str], rows: Sequence[JsonMapping], used: Collection[str]) -> Self:
        """The same, and the columns that say the split by their names and cells, if the settings name none.

        Args:
            columns: Names of the source's columns.
            rows: The first rows.
            used: Columns that hold something else.
        """
        if self.declared_split is not None:
            return self
        free = [column for column in columns if column not in used]
        declared_split = next((column for column in split_columns_among(free) if says_split(rows, column)), None)
        flags = tuple(column for column in free if _is_flag(column, rows))
        return replace(self, declared_split=declared_split, flags=flags, is_found=declared_split is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(name for name in (self.group, self.stratum, self.declared_split, *self.flags) if name is not None)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Those that every file must have."""
        found = {*self.flags, *([self.declared_split] if self.is_found else [])}
        return tuple(name for name in self.names if name not in found)

    @property
    def title(self) -> str | None:
        """Whatever says the split, for people; None where nothing does."""
        return " and ".join(name for name in (self.declared_split, *self.flags) if name is not None) or None

    def read(self, values: JsonMapping) -> tuple[SplitKeys, tuple[Finding, ...]]:
        """What a row says, and what is wrong with it. A cell with nothing in it says nothing.

        Raises:
            UnusableCellError: A cell holds bytes that are not UTF-8.
        """
        if not self.names:
            return SplitKeys(), ()
        group, stratum = (
            None if name is None else cell_text(values.get(name), name) for name in (self.group, self.stratum)
        )
        if self.declared_split is None and not self.flags:
            return SplitKeys(group, stratum), ()
        declared_split = self._read_split(values)
        if isinstance(declared_split, Finding):
            return SplitKeys(group, stratum), (declared_split,)
        return SplitKeys(group, stratum, declared_split), ()

    def _read_split(self, values: JsonMapping) -> str | Finding | None:
        said: dict[str, str] = {}
        denied: dict[str, str] = {}
        for column in (self.declared_split, *self.flags):
            text = None if column is None else cell_text(values.get(column), column)
            if column is None or text is None or not text.strip():
                continue
            split = None if column in self.flags else split_named(text)
            flag, answer = flag_named(column), flag_said(text)
            if split is not None:
                said.setdefault(split, column)
            elif flag is not None and answer is not None:
                (said if answer else denied).setdefault(flag.split, column)
            else:
                expected = "true or false" if column in self.flags else "train, validation or test"
                return Finding("unknown_split", f"column {column}: expected {expected}, found {shown(text)}.")
        return _decide(said, denied)


def split_columns_among(columns: Sequence[str]) -> list[str]:
    """Those whose names say that their cells may name splits; one called just "split" comes first."""
    found = [column for column in columns if is_split_column(column)]
    return sorted(found, key=lambda column: column.strip().casefold() != "split")


def says_split(rows: Sequence[JsonMapping], column: str) -> bool:
    """Whether any cell of a column names a split."""
    return any(isinstance(cell := row.get(column), str) and split_named(cell) is not None for row in rows)


def filled_cells(rows: Sequence[JsonMapping], column: str) -> Iterator[str]:
    """The cells of a column that hold any text, number or boolean, as text."""
    for row in rows:
        value = row.get(column)
        if isinstance(value, str | bool | int | float) and (text := cell_text(value, column)) and text.strip():
            yield text


def _is_flag(column: str, rows: Sequence[JsonMapping]) -> bool:
    """Whether a column says yes or no of one split, by its name and by every filled cell of the first rows."""
    flag = flag_named(column)
    if flag is None or not flag.is_certain:
        return False
    cells = [value for row in rows if (value := row.get(column)) is not None and str(value).strip()]
    return len(cells) == sum(flag_said(cell) is not None for cell in filled_cells(rows, column))


def _decide(said: Mapping[str, str], denied: Mapping[str, str]) -> str | Finding | None:
    """The split of a row: what is said, else what is left where it is not for training; None where nothing says it.

    Args:
        said: By split, the column that says it.
        denied: By split, the column that says another.
    """
    if len(said) > 1 or said.keys() & denied.keys():
        columns = list(dict.fromkeys([*said.values(), *denied.values()]))
        return Finding("unknown_split", f"the columns {' and '.join(columns)} contradict each other.")
    if said or "train" not in denied:
        return next(iter(said), None)
    left = [split for split in _HELD_OUT if split not in denied]
    if not left:
        message = f"the columns {', '.join(denied.values())} say that it is for no split at all."
        return Finding("unknown_split", message)
    return left[0]
