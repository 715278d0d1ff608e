"""Builds a text from the columns of a row."""

import difflib
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from retune.data.formats.cells import cell_text, structure_in
from retune.data.formats.column_names import field_value, find_root, listed_columns
from retune.data.formats.content_blocks import blocks_text
from retune.data.problems.problems import Finding
from retune.errors import SourceError
from retune.redaction.masking import shown
from retune.training_lines.keys import INSTRUCTION_ROLES, JsonMapping

# Not what stands in braces of LaTeX, of shells, or in two braces.
_BEFORE, _AFTER = r"(?<![\w{}\\^$])\{", r"\}(?!\})"
_PLACEHOLDER = re.compile(rf"{_BEFORE}([^\W\d][\w-]*(?:\.[\w-]+)*){_AFTER}")
_MAYBE_COLUMN = re.compile(rf"{_BEFORE}([^{{}}\"':\n]+){_AFTER}")

_HOW_TO_WRITE = "Write {column} for a column's text, and {{ or }} for a brace itself."


class TextSource(Protocol):
    """Where the text of a message comes from."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, or fields of them: `translation.en`."""

    @property
    def title(self) -> str:
        """What people call it: its columns."""

    def text(self, values: JsonMapping) -> str | None:
        """The text of a row; None where there is nothing to make it of.

        Raises:
            UnusableCellError: A cell holds bytes that are not UTF-8.
        """


@dataclass(frozen=True, slots=True)
class OneColumn:
    """What reads one column, or a field in one.

    Attributes:
        column: Its name.
    """

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def title(self) -> str:
        """The column's name."""
        return self.column


class ColumnText(OneColumn):
    """The text of one column."""

    __slots__ = ()

    def text(self, values: JsonMapping) -> str | None:
        """The cell as text; None where it is missing."""
        return cell_text(values.get(self.column), self.column)


class FieldText(OneColumn):
    """The text of a field that lies deeper in a column: `translation.en`."""

    __slots__ = ()

    def text(self, values: JsonMapping) -> str | None:
        """The field as text; None where it is missing."""
        return cell_text(field_value(values, self.column), self.column)


@dataclass(frozen=True, slots=True)
class Template:
    """Columns and words between them.

    Attributes:
        parts: Words, each followed by a column, or by none.
    """

    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, template: str, name: str) -> Self:
        """Read `{subject}: {body}`; nothing but names of columns may stand between braces.

        Args:
            template: The text.
            name: What people call it, for the error: "user_template".

        Raises:
            SourceError: Its braces don't match, or hold something else than a name.
        """
        try:
            fields = list(string.Formatter().parse(template))
        except ValueError as error:
            raise SourceError(f"{name} {template!r} is not well-formed ({error}).", hint=_HOW_TO_WRITE) from None
        for _, column, form, conversion in fields:
            if form or conversion:
                raise SourceError(
                    f"{name} {template!r}: expected the name of a column alone between braces, found {column!r} with "
                    f"{form or conversion!r}.",
                    hint=_HOW_TO_WRITE,
                )
            if column is not None and not column.strip():
                raise SourceError(f"{name} {template!r} has braces that name no column.", hint=_HOW_TO_WRITE)
        return cls(tuple((literal, column) for literal, column, _, _ in fields))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, each once."""
        return tuple(dict.fromkeys(column for _, column in self.parts if column is not None))

    @property
    def title(self) -> str:
        """Its columns."""
        return listed_columns(self.columns)

    @property
    def written(self) -> str:
        """As the user writes it."""
        words = ((text.replace("{", "{{").replace("}", "}}"), column) for text, column in self.parts)
        return "".join(text + ("" if column is None else f"{{{column}}}") for text, column in words)

    @property
    def has_words(self) -> bool:
        """Whether it holds anything but columns and white space."""
        return any(literal.strip() for literal, _ in self.parts)

    def text(self, values: JsonMapping) -> str | None:
        """The template filled in, missing cells as empty text; None where all of them are missing."""
        cells = {column: cell_text(field_value(values, column), column) for column in self.columns}
        if cells and all(cell is None for cell in cells.values()):
            return None
        return "".join(literal + (cells[column] or "" if column is not None else "") for literal, column in self.parts)


@dataclass(frozen=True, slots=True)
class JoinedColumns:
    """Several columns with a blank line between, empty ones left out."""

    columns: tuple[str, ...]

    @property
    def title(self) -> str:
        """The columns' names."""
        return " + ".join(self.columns)

    def text(self, values: JsonMapping) -> str | None:
        """The texts that there are; None where all cells are missing."""
        cells = [cell_text(values.get(column), column) for column in self.columns]
        if all(cell is None for cell in cells):
            return None
        return "\n\n".join(cell for cell in cells if cell is not None and cell.strip())


def read_text_source(
    column: str | None, template: str | None, name: str, columns: Sequence[str] = ()
) -> TextSource | None:
    """The column, or else the template, that the user named; None where it is neither.

    Args:
        column: Name of a column, or of a field in one.
        template: Text with names of columns in braces.
        name: What people call the template, for errors.
        columns: The columns that there are.

    Raises:
        SourceError: The template is not well-formed, or names no column.
    """
    if column is not None:
        return ColumnText(column) if find_root(column, columns) == column else FieldText(column)
    if template is None:
        return None
    parsed = Template.parse(template, name)
    if not parsed.columns:
        raise SourceError(f"{name} {template!r} names no column: every row would read the same.", hint=_HOW_TO_WRITE)
    return parsed


def names_in_template(template: str | None) -> list[str]:
    """The columns that a template names; none where it is not well-formed."""
    try:
        return [column for _, column, _, _ in string.Formatter().parse(template or "") if column]
    except ValueError:
        return []


def names_in_system(system: str | None) -> list[str]:
    """What a system prompt may name as columns."""
    return _MAYBE_COLUMN.findall(system or "")


def _refuse_placeholders(system: str, columns: Sequence[str]) -> None:
    """Every example would be taught the name of a column in place of what is in it."""
    if not (found := _PLACEHOLDER.findall(system)):
        return
    near = difflib.get_close_matches(found[0], columns, n=1, cutoff=0.6)
    did_you_mean = f"Did you mean {{{near[0]}}}? " if near else ""
    raise SourceError(
        f'The system prompt names {{{found[0]}}}, and there is no column "{found[0]}". The columns are: '
        f"{listed_columns(columns)}.",
        hint=f"{did_you_mean}With a space in its braces, {{ {found[0]} }}, it stays text.",
    )


@dataclass(frozen=True, slots=True)
class SystemPrompt:
    """The system prompt of every example.

    Attributes:
        fixed: The same text for all; None where there is none or it is put together.
        template: Makes it of a row's columns.
        found: Column that was found by its name; None where the user said what it is.
    """

    fixed: str | None = None
    template: Template | None = None
    found: str | None = None

    @classmethod
    def in_column(cls, column: str) -> Self:
        """The text of a column that bears the name of a system prompt."""
        return cls(template=Template((("", column),)), found=column)

    @classmethod
    def parse(cls, system: str | None, columns: Sequence[str]) -> Self:
        """Take the text as it is, unless it names one of these columns in braces: then it is a template.

        Raises:
            SourceError: It names a column, and is not well-formed; or it names what is not a column.
        """
        if system is None or not system.strip():
            return cls()
        # An argument that wasn't UTF-8 arrives with lone surrogates.
        system = system.encode(errors="replace").decode()
        if not any(f"{{{column}}}" in system or f"{{{column}." in system for column in columns):
            _refuse_placeholders(system, columns)
            return cls(system)
        template = Template.parse(system, "system")
        return cls(template=template) if template.columns else cls("".join(literal for literal, _ in template.parts))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return () if self.template is None else self.template.columns

    @property
    def title(self) -> str:
        """What is added to a format's title: ", system prompt with product"; nothing where it reads no column."""
        return f", system prompt with {listed_columns(self.columns)}" if self.columns else ""

    def put_before(self, messages: list[object], values: JsonMapping) -> list[object]:
        """Put the system prompt first, unless the conversation brings its own.

        A prompt that is nothing but columns is left out where they are empty.
        """
        first = messages[0] if messages else None
        if isinstance(first, dict) and first.get("role") in INSTRUCTION_ROLES:
            return messages
        if self.template is None:
            return messages if self.fixed is None else [{"role": "system", "content": self.fixed}, *messages]
        text = self._text(self.template, values)
        if not self.template.has_words and not (text and text.strip()):
            return messages
        return [{"role": "system", "content": text}, *messages]

    def _text(self, template: Template, values: JsonMapping) -> str | None:
        """The text; of blocks such as Anthropic's and Gemini's, what they say."""
        blocks = None if self.found is None else structure_in(values.get(self.found))
        return template.text(values) if blocks is None else blocks_text(blocks) or template.text(values)

    def conflicts(self, messages: list[object], values: JsonMapping) -> Iterator[Finding]:
        """What a column says, where the conversation begins with another system message."""
        first = messages[0] if messages else None
        if self.found is None or not isinstance(first, dict) or first.get("role") not in INSTRUCTION_ROLES:
            return
        said, own = self._text(Template((("", self.found),)), values), first.get("content")
        if said and said.strip() and (not isinstance(own, str) or said.strip() != own.strip()):
            message = f"column {self.found} says {shown(said)}, and the conversation begins with {shown(own)}."
            yield Finding("system_conflict", message)
