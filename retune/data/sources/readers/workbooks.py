"""Spreadsheets: xlsx, xls, xlsb and ods. A process of bounded memory reads the sheet and sends its rows, one by one."""

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from retune.config import SourceFormat
from retune.data.problems.problems import Finding
from retune.data.sources.blocks import SAMPLE_ROWS, Block, Row, UnreadFile
from retune.data.sources.bounds import MEGABYTE
from retune.data.sources.files.locations import Location
from retune.data.sources.readers.reader import (
    FileReader,
    TextNotes,
    blocks_of_rows,
    describe_headers_again,
    describe_titles,
    unique_columns,
)
from retune.data.sources.readers.table_edges import MOST_TOTALS, count_totals, describe_two_headers, join_header
from retune.errors import EmptySourceError, SourceError
from retune.redaction.masking import masked
from retune.training_lines.keys import JsonObject

_PROGRAM = Path(__file__).with_name("workbook_process.py")
_MOST_SECONDS = 600
_HEAD_ROWS = 20
_COPIED_BYTES = 1 << 20
_SAVE = "Open it in a spreadsheet program, and save the sheet as .xlsx or as CSV UTF-8."

_Cells = tuple[int, list[str]]
"""A row's number, and its cells up to the last that holds anything."""


class _Sheet(NamedTuple):
    """A sheet that is read.

    Attributes:
        facts: What the process said first.
        title: The rows above the header.
        header: The rows that name the columns: one or two.
        columns: The names.
        rows: Those below the header.
    """

    facts: JsonObject
    title: list[_Cells]
    header: list[_Cells]
    columns: tuple[str, ...]
    rows: Iterator[_Cells]


class WorkbookReader(FileReader):
    """One sheet of a workbook. Rows are numbered as the spreadsheet does.

    Args:
        location: The file.
        sheet: The sheet's name; None for the first that is shown and has anything in it.

    Attributes:
        unread: The other sheets that have rows.

    Raises:
        SourceError: It can't be read, takes too much memory, or has no such sheet.
    """

    def __init__(self, location: Location, sheet: str | None) -> None:
        super().__init__(location, SourceFormat.EXCEL, "row")
        self._wanted = sheet
        with self._open() as opened:
            self.columns = opened.columns
            self._layout = list(_describe_layout(opened))
            self.unread = [self._unread(name, height) for name, height in opened.facts["others"]]
            self.findings = tuple(_describe_faults(opened.facts["faults"]))
            self._sample = [row for row, _ in islice(self._rows(opened), SAMPLE_ROWS)]

    def sample(self, most: int = SAMPLE_ROWS) -> list[Row]:
        """The first rows; see `FileReader`."""
        return self._sample[:most]

    def blocks(self, file: int) -> Generator[Block, None, None]:
        """Read the whole sheet; see `FileReader`."""
        size = self.location.size or 0
        self.notes = TextNotes(layout=list(self._layout))
        with self._open() as opened:
            if opened.columns != self.columns:
                raise self.changed()
            yield from blocks_of_rows(self._rows(opened), file, lambda read: min(read, size), file_bytes=size)

    def _rows(self, opened: _Sheet) -> Iterator[tuple[Row, int]]:
        """The rows with their sizes; those that repeat the header, or sum up the table, are left out and noted."""
        total, width = 0, len(self.columns)
        again = list[int]()
        for number, cells in self._without_totals(opened.rows):
            size = sum(map(len, cells))
            total += size
            self.location.bounds.count(self.location.name, total, self.location.size)
            if len(cells) > width:
                found = f"{len(cells)} cells, but the header names {width} columns."
                yield Row(number, {}, (Finding("row_width", found),)), size
            elif any(cells == header for _, header in opened.header):
                again.append(number)
            else:
                missing = [""] * (width - len(cells))
                yield Row(number, dict(zip(self.columns, cells + missing, strict=True))), size
        self.notes.layout += describe_headers_again(again)

    def _without_totals(self, rows: Iterator[_Cells]) -> Iterator[_Cells]:
        last = deque[_Cells]()
        for row in rows:
            last.append(row)
            if len(last) > MOST_TOTALS + 1:
                yield last.popleft()
        n_totals, are_certain = count_totals([cells for _, cells in last])
        if n_totals:
            totals = list(last)[-n_totals:]
            self.notes.add_totals([number for number, _ in totals], totals[0][1], are_left_out=are_certain)
        yield from list(last)[: len(last) - n_totals if are_certain else len(last)]

    @contextmanager
    def _open(self) -> Iterator[_Sheet]:
        with self._copy() as content, self._process(content) as process:
            assert process.stdout is not None  # noqa: S101  (it is a pipe)
            lines = self._lines(process, process.stdout)
            self.location.bounds.count(self.location.name, next(lines), self.location.size)
            facts = next(lines)
            self._refuse(facts, content)
            head = [(number, cells) for number, cells in islice(lines, _HEAD_ROWS)]
            if not head:
                raise EmptySourceError(f'{self.location.name} is empty: its sheet "{self._wanted}" has nothing in it.')
            title, header, names = _find_header(head, facts["merged"])
            first = head[len(title) + len(header) :]
            width = max((len(cells) for _, cells in first), default=0)
            columns = unique_columns(names + [""] * (width - len(names)), self.location.name)
            yield _Sheet(facts, title, header, columns, chain(first, lines))

    @contextmanager
    def _copy(self) -> Iterator[IO[bytes]]:
        """The file, which may be packed or elsewhere, so that it can be read in any order."""
        bounds = self.location.bounds
        with tempfile.TemporaryFile() as content, self.location.open() as stream:
            while piece := stream.read(_COPIED_BYTES):
                content.write(piece)
                if content.tell() > bounds.pickle_bytes:
                    raise bounds.workbook_too_large(self.location.name)
            content.seek(0)
            yield content

    @contextmanager
    def _process(self, content: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        megabytes = self.location.bounds.pickle_bytes // MEGABYTE
        arguments = [str(megabytes), str(_MOST_SECONDS), *([] if self._wanted is None else [self._wanted])]
        process = subprocess.Popen(  # noqa: S603  (our own program)
            [sys.executable, "-P", str(_PROGRAM), *arguments],
            stdin=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "RUST_BACKTRACE": "0"},
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def _lines(self, process: "subprocess.Popen[bytes]", output: IO[bytes]) -> Iterator[Any]:
        most = 2 * self.location.bounds.row_bytes
        number = 1
        while line := output.readline(most):
            if len(line) == most:
                raise self.location.bounds.row_too_large(f"{self.location.name}, the row after row {number}")
            value = json.loads(line)
            number = value[0] if isinstance(value, list) else number
            yield value
        if process.wait() != 0:
            raise self.location.bounds.workbook_too_large(self.location.name)

    def _refuse(self, facts: JsonObject, content: IO[bytes]) -> None:
        name, reason = self.location.name, facts.get("error")
        if reason is None:
            return
        if reason == "memory":
            raise self.location.bounds.workbook_too_large(name)
        if reason == "empty":
            raise EmptySourceError(f"{name} is empty: none of its sheets has anything in it.")
        if reason == "password":
            raise SourceError(f"{name} is protected by a password.", hint="Save it without one.")
        if reason == "sheet":
            there = ", ".join(f'"{sheet}"' for sheet in facts["sheets"])
            raise SourceError(
                f'{name} has no sheet "{self._wanted}"; it has {there}.', hint="Name one of these: --sheet."
            )
        content.seek(0)
        head = content.read(512).lstrip()
        if head[:1] == b"<":
            raise SourceError(f"{name} is not a spreadsheet by its first bytes, but HTML or XML.", hint=_SAVE)
        if head and min(head) >= ord("\t"):
            hint = "Rename it to end in .csv (commas, semicolons) or .tsv (tabs); or use --format csv or tsv."
            raise SourceError(f"{name} is not a spreadsheet by its first bytes, but text.", hint=hint)
        raise SourceError(f"{name} can't be read as a spreadsheet: {masked(reason, 0, 200).rstrip('.')}.", hint=_SAVE)

    def _unread(self, sheet: str, height: int) -> UnreadFile:
        rows = f"{height:,} row{'' if height == 1 else 's'}"
        reason = f"this sheet has {rows}, and one sheet of a workbook is read; --sheet '{sheet}' reads it"
        return UnreadFile(f'{self.location.name}, sheet "{sheet}"', reason, may_hold_examples=True)


def _find_header(
    head: Sequence[_Cells], merged: Sequence[Sequence[int]]
) -> tuple[list[_Cells], list[_Cells], list[str]]:
    """Find in the first rows those with a title, those of the header below them, and the names that these give.

    A title has fewer cells than the table: the header is the first row that has more than half of the most there are,
    unless that and the one above or below it are one.

    Args:
        head: The first rows.
        merged: Cells that are merged: the first row and column, and the last.
    """
    filled = [sum(bool(cell.strip()) for cell in cells) for _, cells in head]
    place = next(place for place, count in enumerate(filled) if 2 * count > max(filled))
    spanning = {top for top, left, _, right in merged if left < right}
    for upper in (place - 1, place):
        if 0 <= upper < len(head) - 2:
            (number, cells), (_, lower), *below = head[upper:]
            names = join_header(cells, lower, [row for _, row in below], is_merged=number in spanning)
            if names is not None:
                return list(head[:upper]), list(head[upper : upper + 2]), names
    return list(head[:place]), list(head[place : place + 1]), list(head[place][1])


def _describe_faults(faults: dict[str, list[Any]]) -> Iterator[Finding]:
    causes = {
        "errors": "holds an error ({seen}), or more: {n} in all; they are read as empty",
        "formulas": "holds a formula that was never computed: {n} in all; they are read as empty. Open the workbook "
        "in a spreadsheet program and save it",
    }
    for kind, (n, first, seen) in faults.items():
        yield Finding("not_a_value", f"cell {first} {causes[kind].format(n=f'{n:,}', seen=masked(seen, 0, 40))}.")


def _describe_layout(opened: _Sheet) -> Iterator[str]:
    yield from describe_titles([(number, " ".join(filter(None, cells))) for number, cells in opened.title])
    yield from describe_two_headers(opened.header, opened.columns)
    nameless = [name for place, name in enumerate(opened.columns, start=1) if name == f"column {place}"]
    if nameless:
        cause = ": cells of the header are merged" if opened.facts["merged"] else ""
        yield f"columns without a name in the header are called by their place ({', '.join(nameless[:5])}){cause}"
    if opened.facts["others"]:
        yield f'the sheet "{opened.facts["sheet"]}" is read'
