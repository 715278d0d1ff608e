"""Columns of texts whose cells hold lists or objects: how they are read, and what is reported about it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from retune.data.formats.cells import UnusableCellError, cell_text, json_value, lone_text, structure_in, structures_in
from retune.data.formats.column_names import field_value
from retune.data.formats.templates import ColumnText, FieldText, OneColumn, Template, TextSource
from retune.data.problems.problems import Finding
from retune.data.text.jsonl import parse_json
from retune.redaction.masking import listed, shown
from retune.training_lines.keys import JsonMapping


@dataclass(frozen=True, slots=True)
class LoneText(OneColumn):
    """The text of a list of one, as annotation tools write a label.

    Attributes:
        flags: What reads every list instead, and the same question.
    """

    flags: str

    @property
    def title(self) -> str:
        """The column's name, and that lists are read."""
        return f"{self.column} (the one text of each list)"

    def text(self, values: JsonMapping) -> str | None:
        """The text; None where the cell is missing.

        Raises:
            UnusableCellError: The list is empty, or holds more or something else.
        """
        value = field_value(values, self.column)
        found = structure_in(value)
        if found is None:
            return cell_text(value, self.column)
        text = lone_text(found)
        if text is None:
            message = (
                f"column {self.column}: expected a list of one text, as the first rows have; found {shown(value)}. "
                f"Every list is read as JSON by: {self.flags}"
            )
            raise UnusableCellError(Finding("not_one_text", message))
        return text


@dataclass(frozen=True, slots=True)
class StructureText(OneColumn):
    """Lists and objects as JSON, also where they are written in Python's notation.

    Attributes:
        holds: What the cells hold, for people.
    """

    holds: str

    @property
    def title(self) -> str:
        """The column's name, and what it holds."""
        return f"{self.column} ({self.holds} as JSON)"

    def text(self, values: JsonMapping) -> str | None:
        """The structure as JSON; text that is JSON already, or plain, stays as it is."""
        value = field_value(values, self.column)
        if isinstance(value, str) and (_is_json(value) or structure_in(value) is None):
            return value
        return cell_text(json_value(structure_in(value) or value, self.column), self.column)


class ReadAs(NamedTuple):
    """How a column's text is read.

    Attributes:
        source: What reads it.
        findings: What the first rows say against it.
    """

    source: TextSource
    findings: tuple[Finding, ...] = ()


def read_cells(source: TextSource, rows: Sequence[JsonMapping], *, asked: TextSource | None = None) -> ReadAs:
    """How a column's cells are best read, by what the first rows hold; a template's text stays as it is.

    Args:
        source: The column.
        rows: The first rows.
        asked: Of answers, what reads the question; None where these are not answers.

    Lists of one text are that text, if they are answers: a label. All other lists and objects are written as JSON.
    """
    if not isinstance(source, ColumnText | FieldText):
        return ReadAs(source)
    [name] = source.columns
    cells = [field_value(row, name) for row in rows]
    found = structures_in(cells)
    if not found:
        numbers = _numbers_for_labels(cells) if asked is not None else []
        message = f"column {name} holds the numbers {listed(list(map(str, numbers)))}, which are learned as they stand."
        return ReadAs(source, (Finding("numbered_labels", message),) if numbers else ())
    if asked is not None and all(lone_text(each) is not None for each in found if each) and any(found):
        return ReadAs(LoneText(name, _flags(asked, name)))
    kinds = {type(each) for each in found}
    holds = "lists and objects" if len(kinds) > 1 else "lists" if list in kinds else "objects"
    is_meant = all(isinstance(cell, str) and (_is_json(cell) or structure_in(cell) is None) for cell in cells if cell)
    message = f"column {name} holds {holds}, which are read as JSON text, such as {shown(found[0])}."
    findings = () if is_meant else (Finding("structured_cells", message),)
    return ReadAs(StructureText(name, holds), findings)


def _flags(asked: TextSource, answer: str) -> str:
    """What reads the same question, and the answer by a template."""
    question = f"--user-column {shlex.quote(asked.columns[0])}"
    if isinstance(asked, Template) or len(asked.columns) > 1:
        fields = " ".join(f"{{{column}}}" for column in asked.columns)
        question = f"--user-template {shlex.quote(asked.written if isinstance(asked, Template) else fields)}"
    return f"{question} --assistant-template {shlex.quote(f'{{{answer}}}')}"


def _numbers_for_labels(cells: Sequence[Any]) -> list[int]:
    """The whole numbers that stand for labels: a few that come again and again; else nothing."""
    filled = [cell for cell in cells if cell not in (None, "")]
    are_numbers = all(isinstance(cell, int) and not isinstance(cell, bool) for cell in filled)
    different = sorted(set(filled)) if are_numbers else []
    return different if 1 < len(different) <= len(filled) // 2 else []


def _is_json(text: str) -> bool:
    try:
        parse_json(text)
    except ValueError:
        return False
    return True
