"""What a row says of the split that it belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from retune.config import SplitConfig, SplitMethod
from retune.data.blocks import Finding
from retune.data.examples import SplitKeys
from retune.data.quoting import shown
from retune.data.shapes.cells import cell_text

_SIDES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class SplitColumns:
    """The columns that a split goes by; None where it goes by no such column.

    Attributes:
        group: Rows that share its value stay together.
        stratum: The mixture of its values is the same in every split.
        side: It says train, validation or test.
    """

    group: str | None = None
    stratum: str | None = None
    side: str | None = None

    @classmethod
    def of(cls, split: SplitConfig) -> Self:
        """The columns that the settings name."""
        return cls(
            group=split.column if split.method is SplitMethod.GROUP else None,
            stratum=split.stratify_column,
            side=split.column if split.method is SplitMethod.COLUMN else None,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(name for name in (self.group, self.stratum, self.side) if name is not None)

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
        if self.side is None:
            return SplitKeys(group, stratum), ()
        side = _SIDES.get(said.strip().lower()) if said is not None else None
        if side is not None:
            return SplitKeys(group, stratum, side), ()
        found = "nothing" if said is None else shown(said)
        message = f"column {self.side}: expected train, validation or test, found {found}."
        return SplitKeys(group, stratum), (Finding("unknown_split", message),)
