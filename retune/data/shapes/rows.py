"""Shapes that make an example of each row by itself."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from retune.data.blocks import Block, Finding, Row
from retune.data.examples import Example, Method
from retune.data.shapes.cells import UnusableCellError
from retune.data.shapes.column_names import listed, near_key
from retune.data.shapes.shape import Shape
from retune.data.shapes.split_columns import SplitColumns
from retune.data.shapes.templates import SystemPrompt


@dataclass
class RowShape(Shape):
    """A shape in which each row is an example.

    Attributes:
        title: What people call it, with the columns that it reads.
        method: What its examples can train.
        split: Columns that the split goes by.
        system: Put before what an example says, unless the example brings its own.
    """

    title: str
    method: Method
    split: SplitColumns
    system: SystemPrompt

    @property
    def fixed_system(self) -> str | None:
        """The system prompt that is the same for all."""
        return self.system.fixed

    @property
    def split_column(self) -> str | None:
        """The column that says which split a row belongs to."""
        return self.split.side

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns that every file must have."""

    @abstractmethod
    def body(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Finding, ...]]:
        """The line of a training file for a row, and what was odd about the row.

        Raises:
            UnusableCellError: No example can be made of it.
        """

    def examples(self, block: Block) -> Iterator[Example]:
        """One example for each row of the block, in order."""
        return map(self._example, block.rows())

    def check_keys(self, values: Mapping[str, Any], wanted: tuple[str, ...]) -> None:
        """Do nothing if an object has all these keys; null counts, as a table's rows have it where they hold nothing.

        Raises:
            UnusableCellError: One is missing.
        """
        missing = [name for name in wanted if name not in values]
        if not missing:
            return
        others = [key for key in values if key not in self.columns]
        near = [(name, key) for name in missing if (key := near_key(name, others)) is not None]
        advice = "".join(f' Is "{key}" meant to be "{name}"?' for name, key in near)
        message = f"expected {listed(self.columns)}, as the others have; found {listed(list(values))}.{advice}"
        raise UnusableCellError(Finding("other_shape", message))

    def _example(self, row: Row) -> Example:
        if row.findings:
            return Example({}, row.number, row.findings)
        try:
            keys, findings = self.split.read(row.values)
        except UnusableCellError as error:
            return Example({}, row.number, (error.finding,))
        try:
            body, found = self.body(row.values)
        except UnusableCellError as error:
            return Example({}, row.number, (error.finding, *findings), keys)
        return Example(body, row.number, (*found, *findings), keys)
