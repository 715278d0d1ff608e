"""How a table of text is written, by its first rows: what separates its cells, what its quotes mean, its header."""

import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

from retune.data.sources.readers.table_edges import is_text, join_header

DELIMITERS = (",", ";", "\t")
"""In this order, the first of them separates cells that the header holds outside of quotes, and that gives the first
rows as many cells as the header; where none does, the first that the header holds."""

_ROWS_SNIFFED, _LINES_SNIFFED = 20, 500
_ROWS_OF_TABLE = 4
_LINES_CUT = 50
_QUOTED = re.compile(r'"[^"]*"')
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[,;\t]*(?:\r\n|\n|\r)', re.IGNORECASE)


class CsvLayout(NamedTuple):
    """How a table is written.

    Attributes:
        delimiter: What separates cells.
        has_quotes: Quotes around a cell are not part of it; else they are letters like any other.
        skips_spaces: Spaces after a separator are not part of the cell.
        separator_line: The line before the header that names the separator, with its end; empty where there is none.
        n_title_rows: How many rows with anything in them stand above the header: a title, comments.
        joined_header: The names of the columns, where two rows give them together; empty where one does.
        notes: What of that isn't as CSV, or TSV, has it.
    """

    delimiter: str
    has_quotes: bool = True
    skips_spaces: bool = False
    separator_line: str = ""
    n_title_rows: int = 0
    joined_header: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Arrow can read it."""
        return not self.skips_spaces


def find_layout(head: str, delimiter: str | None, *, is_whole: bool) -> CsvLayout:
    """Find how a table is written.

    Args:
        head: Its start.
        delimiter: What separates its cells; None to go by the first rows.
        is_whole: Nothing is missing.
    """
    notes, line = [], ""
    if found := _SEPARATOR_LINE.match(head):
        delimiter, line = found[1], found[0]
        head = head[found.end() :]
        notes.append(f"the first line, {line.strip()}, names what separates the cells, and is not counted as a row")
    if delimiter is None:
        delimiter = _sniff(head, is_whole=is_whole)
        if delimiter == "|":
            notes.append("its cells are separated by |")
    layout = CsvLayout(delimiter, separator_line=line)
    if delimiter == "\t" and _has_quotes_of_text(head, layout, is_whole=is_whole):
        layout = layout._replace(has_quotes=False)
        notes.append("quotes are letters like any other here: with tabs between them, cells are written without any")
    elif _has_spaces(head, layout, is_whole=is_whole):
        layout = layout._replace(skips_spaces=True)
        notes.append(
            "a space stands after each separator; these spaces are left out, and quotes after them are not text"
        )
    n_title_rows, joined = _place_header(head, layout, is_whole=is_whole)
    return layout._replace(notes=tuple(notes), n_title_rows=n_title_rows, joined_header=joined)


def _place_header(head: str, layout: CsvLayout, *, is_whole: bool) -> tuple[int, tuple[str, ...]]:
    """How many rows stand above the header, and the names that two rows give together.

    Above it stand comments, and titles of one cell in an even table of several columns.
    """
    rows = [
        row
        for row in read_rows(head, layout, is_whole=is_whole, most=_ROWS_SNIFFED) or ()
        if any(cell.strip() for cell in row)
    ]
    place = next((place for place, row in enumerate(rows) if sum(bool(cell.strip()) for cell in row) > 1), 0)
    titles, table = rows[:place], rows[place : place + _ROWS_OF_TABLE]
    is_even = len({len(row) for row in table}) == 1
    joined = join_header(rows[place], rows[place + 1], rows[place + 2 :]) if is_even and len(table) > 2 else None
    if not titles or len(table) < _ROWS_OF_TABLE or not is_even:
        return 0, () if titles else tuple(joined or ())
    header = joined or [cell.strip() for cell in table[0]]
    are_names = all(header) and len(set(header)) == len(header) and not any(map(is_text, header))
    are_titles = all(_is_title(row, len(header)) for row in titles)
    return (place, tuple(joined or ())) if are_names and are_titles else (0, ())


def is_table(head: str, *, is_whole: bool) -> bool:
    """Whether a text is a table beyond doubt: several columns, each with a name, and rows that are as wide.

    Args:
        head: Its start.
        is_whole: Nothing is missing.
    """
    layout = find_layout(head, None, is_whole=is_whole)
    head = head[len(layout.separator_line) :]
    rows = read_rows(head, layout, is_whole=is_whole, most=_ROWS_SNIFFED) or []
    header, *rows = [row for row in rows if any(cell.strip() for cell in row)][layout.n_title_rows :] or [[]]
    if layout.joined_header:
        header, rows = list(layout.joined_header), rows[1:]
    are_names = len(header) > 1 and all(cell.strip() and not is_text(cell) for cell in header)
    return are_names and bool(rows) and all(len(row) == len(header) for row in rows)


def _is_title(row: Sequence[str], width: int) -> bool:
    text = "".join(row).strip()
    return text.startswith("#") or len(row) == width or len(text.split()) > 1


def _sniff(head: str, *, is_whole: bool) -> str:
    head = head.lstrip(" \r\n")
    header = _QUOTED.sub("", head).split("\n", 1)[0].split("\r", 1)[0]
    candidates = [mark for mark in DELIMITERS if mark in header]
    if not candidates and "|" in header and _is_even(head, CsvLayout("|"), is_whole=is_whole):
        return "|"
    # A header may hold several of them, as in "text (raw, long);label", and what stands above it, others or none.
    even = (mark for mark in candidates if _is_even(head, CsvLayout(mark), is_whole=is_whole))
    titled = (mark for mark in DELIMITERS if _place_header(head, CsvLayout(mark), is_whole=is_whole)[0])
    return next(even, None) or next(titled, None) or next(iter(candidates), DELIMITERS[0])


def _is_even(head: str, layout: CsvLayout, *, is_whole: bool) -> bool:
    """Whether the first rows all have the same number of cells, and more than one."""
    rows = read_rows(head, layout, is_whole=is_whole, most=_ROWS_SNIFFED)
    widths = {len(row) for row in rows or () if any(cell.strip() for cell in row)}
    return len(widths) == 1 and widths != {1}


def read_rows(
    head: str, layout: CsvLayout, *, is_whole: bool, most: int = _LINES_SNIFFED, is_strict: bool = False
) -> list[list[str]] | None:
    """The first rows, without one that goes beyond what was looked at; None where they can't be read.

    Args:
        head: The start of the table, without a line that names the separator.
        layout: How to read it.
        is_whole: Nothing is missing.
        most: So many rows.
        is_strict: Text after a closing quote, and a quote that is left open, are faults.
    """
    lines = csv.reader(
        io.StringIO(head, newline=""),
        delimiter=layout.delimiter,
        quoting=csv.QUOTE_MINIMAL if layout.has_quotes else csv.QUOTE_NONE,
        skipinitialspace=layout.skips_spaces,
        strict=is_strict,
    )
    rows: list[list[str]] = []
    n_lines = 0
    try:
        for row in lines:
            rows.append(row)
            if len(rows) == most:
                return rows
            n_lines = lines.line_num
    except csv.Error:
        # The last row may continue beyond what was read, with a quote that is closed there.
        is_cut = not is_whole and head.count("\n") - n_lines < _LINES_CUT
        return rows if is_cut and rows else None
    if not is_whole and len(rows) > 1:
        del rows[-1]
    return rows


def _has_quotes_of_text(head: str, layout: CsvLayout, *, is_whole: bool) -> bool:
    """Whether some cells start with a quote, and only make an even table where quotes are text."""
    starts_with_quote = re.search(r'(?:^|[\t\n\r])"', head)
    if starts_with_quote is None:
        return False
    quoted = read_rows(head, layout, is_whole=is_whole, is_strict=True)
    if quoted is not None and len({len(row) for row in quoted if row}) == 1:
        return False
    unquoted = read_rows(head, layout._replace(has_quotes=False), is_whole=is_whole)
    return unquoted is not None and len({len(row) for row in unquoted if row}) == 1


def _has_spaces(head: str, layout: CsvLayout, *, is_whole: bool) -> bool:
    """Whether quotes only make sense, or names of columns only are such, where spaces before them are left out."""
    if f"{layout.delimiter} " not in head or layout.delimiter == " ":
        return False
    skipping = layout._replace(skips_spaces=True)
    plain = read_rows(head, layout, is_whole=is_whole, most=_ROWS_SNIFFED) or []
    skipped = read_rows(head, skipping, is_whole=is_whole, most=_ROWS_SNIFFED, is_strict=True)
    if not plain or not skipped or len({len(row) for row in skipped if row}) != 1:
        return False
    if any(cell.startswith(" ") and cell.lstrip().startswith('"') for row in plain for cell in row):
        return True
    return all(len(row) > 1 and all(cell.startswith(" ") for cell in row[1:]) for row in plain if row)
