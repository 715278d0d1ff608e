"""What a row says of the split that it belongs to."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from retune.config import SplitConfig, SplitMethod
from retune.data.blocks import Finding
from retune.data.examples import SplitKeys
from retune.data.quoting import shown
from retune.data.shapes.cells import cell_text
from retune.data.split_names import SPLIT_COLUMNS, split_named


@dataclass(frozen=True, slots=True)
class SplitColumns:
    """The columns that a split goes by; None where it goes by no such column.

    Attributes:
        group: Rows that share its value stay together.
        stratum: The mixture of its values is the same in every split.
        side: It says train, validation or test.
        is_found: Nobody named `side`: its name and its cells tell that it is one. Then a cell may be empty.
    """

    group: str | None = None
    stratum: str | None = None
    side: str | None = None
    is_found: bool = False

    @classmethod
    def of(cls, split: SplitConfig) -> Self:
        """The columns that the settings name."""
        return cls(
            group=split.column if split.method is SplitMethod.GROUP else None,
            stratum=split.stratify_column,
            side=split.column if split.method is SplitMethod.COLUMN else None,
        )

    def with_found(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], used: Collection[str]) -> Self:
        """The same, and the column that says the split by its name and by most of its cells, if there is one.

        Args:
            columns: Names of the source's columns.
            rows: The first rows.
            used: Columns that hold something else.
        """
        if self.side is not None:
            return self
        for name in SPLIT_COLUMNS:
            for column in columns:
                if column.strip().casefold() == name and column not in used and _says_splits(column, rows):
                    return replace(self, side=column, is_found=True)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(name for name in (self.group, self.stratum, self.side) if name is not None)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Those that every file must have."""
        return tuple(name for name in self.names if not (self.is_found and name == self.side))

    def read(self, values: Mapping[str, Any]) -> tuple[SplitKeys, tuple[Finding, ...]]:
        """What a row says, and what is wrong with it.

        Raises:
            UnusableCellError: A cell holds bytes that are not UTF-8.
        """
        if not self.names:
            return SplitKeys(), ()
        group, stratum, said = (
            None if name is None else cell_text(values.get(name), name)
            for name in (self.group, self.stratum, self.side)
        )
        is_empty = said is None or not said.strip()
        if self.side is None or (self.is_found and is_empty):
            return SplitKeys(group, stratum), ()
        side = None if said is None else split_named(said)
        if side is not None:
            return SplitKeys(group, stratum, side), ()
        found = "nothing" if said is None else shown(said)
        message = f"column {self.side}: expected train, validation or test, found {found}."
        return SplitKeys(group, stratum), (Finding("unknown_split", message),)


def _says_splits(column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether most of the first cells with anything in them name a split; they are text."""
    cells = [value for row in rows if (value := row.get(column)) not in (None, "")]
    known = sum(isinstance(cell, str) and split_named(cell) is not None for cell in cells)
    return known * 2 > len(cells)
