"""What a row of a source holds, and how it becomes an example: what all formats have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Self

from retune.data.example.example import Example, Method
from retune.data.formats.cells import UnusableCellError
from retune.data.formats.column_names import find_root, listed_columns, near_key
from retune.data.formats.split_columns import SplitColumns
from retune.data.formats.templates import SystemPrompt
from retune.data.formats.turns import read_turns
from retune.data.problems.problems import Finding
from retune.data.sources.blocks import Block, Row
from retune.training_lines.keys import INSTRUCTION_ROLES, JsonMapping, JsonObject


@dataclass(frozen=True, slots=True)
class TwoTextColumns:
    """The simplest format: two columns of text, and the same system prompt for all.

    Attributes:
        user: Column with what the user says.
        assistant: Column with the answer.
        system: System prompt, or None.
    """

    user: str
    assistant: str
    system: str | None


class RowFormat(ABC):
    """Makes examples of rows. Formats travel between processes, so they pickle.

    Attributes:
        title: What people call it, with the columns that it reads: "columns text → category".
        method: What its examples can train.
        remarks: What the first rows say against what is read.
        watched: Unused columns that would say the split if any of their cells named one.
    """

    title: str
    method: Method
    remarks: tuple[Finding, ...] = ()
    watched: tuple[str, ...] = ()

    @abstractmethod
    def examples(self, block: Block) -> Iterator[Example]:
        """One example for each row of the block, in order; a row that can't be one says so in its findings."""

    def verbatim(self) -> Self:
        """The same for models that complete prompts: its texts are learned to the letter, nothing is stripped."""
        row_format = copy(self)
        row_format.title = f"{self.title}, written as prompt and completion"
        return row_format

    @property
    def fixed_system(self) -> str | None:
        """The system prompt that is put before every example without one; None where there is none or it varies."""
        return None

    @property
    def split_column(self) -> str | None:
        """The column that says which split a row belongs to; None where there is none."""
        return None

    @property
    def group_column(self) -> str | None:
        """The column whose equal values stay together in a split; None where there is none."""
        return None

    @property
    def two_text_columns(self) -> TwoTextColumns | None:
        """The columns, where the format is that simple: then a block is described without making its examples."""
        return None

    @property
    def keeps_plain_messages(self) -> bool:
        """Whether a row that is nothing but `messages`, each a role and a text, is an example as it is.

        A fixed system prompt is put before those without one.
        """
        return False

    @property
    def reads(self) -> frozenset[str]:
        """Every column of the source that reaches the examples, or the split."""
        return frozenset()

    @property
    def unused_keys(self) -> frozenset[str]:
        """Columns of the source that reach no example; they are named once, and not with every row."""
        return frozenset()


@dataclass
class ColumnFormat(RowFormat):
    """A format in which each row is an example.

    Attributes:
        title: What people call it, with the columns that it reads.
        method: What its examples can train.
        split: Columns that the split goes by.
        system: Put before what an example says, unless the example brings its own.
        history: Column with earlier turns.
        settings: Columns that hold tools and the like.
        known: Columns of the source; a key of a row that is none of them is named.
        watched: Unused columns that would say the split if any of their cells named one.
        remarks: What the first rows say against what is read.
    """

    title: str
    method: Method
    split: SplitColumns
    system: SystemPrompt
    history: str | None = field(default=None, kw_only=True)
    settings: tuple[str, ...] = field(default=(), kw_only=True)
    known: frozenset[str] = field(default=frozenset(), kw_only=True)
    watched: tuple[str, ...] = field(default=(), kw_only=True)
    remarks: tuple[Finding, ...] = field(default=(), kw_only=True)

    @property
    def fixed_system(self) -> str | None:
        """The system prompt that is the same for all."""
        return self.system.fixed

    @property
    def split_column(self) -> str | None:
        """What says which split a row belongs to."""
        return self.split.title

    @property
    def group_column(self) -> str | None:
        """The column whose equal values stay together in a split."""
        return self.split.group

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, without what stands beside them."""

    @property
    def needed(self) -> tuple[str, ...]:
        """Those of them that every file must have."""
        return tuple(name for name in self.columns if name != self.system.found)

    @property
    def reads(self) -> frozenset[str]:
        """Everything that it reads."""
        return frozenset((*self.columns, *self.settings, *self.split.names, *([self.history] if self.history else [])))

    def uses(self, column: str) -> bool:
        """Whether something of a column reaches the examples, or the split."""
        return any(find_root(name, (column,)) == column for name in self.reads)

    @property
    def unused_keys(self) -> frozenset[str]:
        """The known columns that are not used."""
        return frozenset(column for column in self.known if not self.uses(column))

    @abstractmethod
    def body(self, values: JsonMapping) -> tuple[JsonObject, tuple[Finding, ...]]:
        """The line of a training file for a row, and what was odd about the row.

        Raises:
            UnusableCellError: No example can be made of it.
        """

    def examples(self, block: Block) -> Iterator[Example]:
        """One example for each row of the block, in order."""
        for row in block.rows():
            example = self._example(row)
            yield replace(example, findings=(*row.remarks, *example.findings)) if row.remarks else example

    def framed(self, messages: list[Any], values: JsonMapping) -> tuple[list[Any], tuple[Finding, ...]]:
        """Messages after the system prompt and the earlier turns, and what contradicts itself there.

        Raises:
            UnusableCellError: The cell of the earlier turns holds something else.
        """
        if self.history is not None and (turns := read_turns(values, self.history)):
            first = messages[0] if messages else None
            n_own = int(isinstance(first, dict) and first.get("role") in INSTRUCTION_ROLES)
            messages = [*messages[:n_own], *turns, *messages[n_own:]]
        return self.system.put_before(messages, values), tuple(self.system.conflicts(messages, values))

    def check_keys(self, values: JsonMapping, wanted: tuple[str, ...]) -> None:
        """Do nothing if an object has all these keys; null counts, as a table's rows have it where they hold nothing.

        Raises:
            UnusableCellError: One is missing.
        """
        missing = [name for name in wanted if find_root(name, values) not in values]
        if not missing:
            return
        others = [key for key in values if key not in self.columns]
        near = [(name, key) for name in missing if (key := near_key(name, others)) is not None]
        advice = "".join(f' Is "{key}" meant to be "{name}"?' for name, key in near)
        expected, found = listed_columns(self.columns), listed_columns(list(values))
        message = f"expected {expected}, as the others have; found {found}.{advice}"
        raise UnusableCellError(Finding("other_shape", message))

    def _example(self, row: Row) -> Example:
        if row.findings:
            return Example({}, row.number, row.findings)
        if not row.values.keys() <= self.known:
            other_keys = self._other_keys(row)
            return replace(self._read(row), other_keys=other_keys, late=row.values if other_keys else None)
        return self._read(row)

    def _other_keys(self, row: Row) -> tuple[str, ...]:
        """Keys that the first rows did not have, and that hold something which reaches no example."""
        return tuple(
            key
            for key, value in row.values.items()
            if key not in self.known and value is not None and not self.uses(key)
        )

    def _read(self, row: Row) -> Example:
        try:
            keys, findings = self.split.read(row.values)
        except UnusableCellError as error:
            return Example({}, row.number, (error.finding,))
        try:
            body, found = self.body(row.values)
        except UnusableCellError as error:
            return Example({}, row.number, (error.finding, *findings), keys)
        return Example(body, row.number, (*found, *findings), keys)
