"""What a row of a source holds, and how it becomes an example."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Self

from retune.data.example.example import Example, Method
from retune.data.sources.blocks import Block, Finding


@dataclass(frozen=True, slots=True)
class PlainColumns:
    """The simplest shape: two columns of text, and the same system prompt for all.

    Attributes:
        user: Column with what the user says.
        assistant: Column with the answer.
        system: System prompt, or None.
    """

    user: str
    assistant: str
    system: str | None


class Shape(ABC):
    """Makes examples of rows. Shapes travel between processes, so they pickle.

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
        shape = copy(self)
        shape.title = f"{self.title}, written as prompt and completion"
        return shape

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
    def plain_columns(self) -> PlainColumns | None:
        """The columns, where the shape is that simple: then a block is described without making its examples."""
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
