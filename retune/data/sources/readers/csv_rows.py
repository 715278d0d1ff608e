"""Reading CSV row by row, exactly, saying of every row that can't be read what is wrong with it.

The dialect is that of RFC 4180 as Python's strict reader has it: a cell that starts with a quote ends with one, a
quote inside such a cell is written twice, and in any other cell a quote is a letter like any other. Lines end in LF,
CRLF or CR.
"""

import csv
from collections.abc import Iterator, Sequence

from retune.data.problems.problems import Finding
from retune.data.sources.blocks import Row
from retune.data.sources.bounds import Bounds
from retune.data.sources.files.byte_stream import ByteStream
from retune.data.sources.readers.csv_layout import find_layout
from retune.data.text.encoding import SAVE_AS_UTF8, describe_bad_utf8
from retune.errors import SourceError

_SNIFFED_BYTES = 1 << 16
_HOW_TO_QUOTE = 'A cell that starts with a quote must end with one; a quote inside it is written twice: "".'


class CsvRows:
    """Reads rows from where a stream stands.

    Args:
        stream: The file; nothing is taken from it beyond the rows that were asked for.
        name: The file, for errors.
        bounds: How long a row may be. A longer one mostly comes of a quote that was left open; the reader would take
            the rest of the file for it.
        delimiter: What separates cells; None to go by the first rows.

    Attributes:
        number: Of the row read last; whoever takes rows from the stream counts them here.
        line: How many lines were read, by their LF, as most editors count them; the same.
        windows_line_ends: How many of the lines that ended a row ended in CRLF.
        layout: How the table is written.
        header_rows: The rows that name the columns, with their numbers, once they were read: one or two. A row that
            repeats one is not an example.
        titles: The rows above the header that were passed over.
        headers_again: Numbers of the rows that repeat the header, as files that were put together have them.
    """

    def __init__(self, stream: ByteStream, name: str, bounds: Bounds, delimiter: str | None) -> None:
        self._stream = stream
        self._name = name
        self._bounds = bounds
        self.number = self.line = self.windows_line_ends = 0
        self.header_rows: list[tuple[int, tuple[str, ...]]] = []
        self.titles: list[tuple[int, str]] = []
        self.headers_again: list[int] = []
        content, is_whole = stream.peek_block(_SNIFFED_BYTES)
        self.layout = find_layout(content.decode(errors="replace"), delimiter, is_whole=is_whole)
        if self.layout.separator_line:
            stream.take(len(self.layout.separator_line.encode()))
            self.line = 1
        self._taken_before = stream.taken
        self._this_line = 1
        self._bad_byte: str | None = None
        self._ends_in_crlf = False
        # The limit of the standard library, for all its readers, is 128 KiB; an example may well be longer.
        csv.field_size_limit(max(csv.field_size_limit(), bounds.row_bytes))
        self._cells = csv.reader(
            self._lines(),
            delimiter=self.layout.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.layout.has_quotes else csv.QUOTE_NONE,
            skipinitialspace=self.layout.skips_spaces,
            strict=True,
        )

    def _lines(self) -> Iterator[str]:
        most = self._bounds.row_bytes
        while lines := self._take_lines(most):
            if self._stream.taken - self._taken_before > most:
                error = self._bounds.row_too_large(f"{self._name}, row {self.number + 1}")
                raise SourceError(error.message, hint=f"A quote may have been left open at its start. {error.hint}")
            first_line = self.line + 1
            n_line_feeds = lines.count(b"\n")
            self.line += n_line_feeds
            self._this_line = first_line + max(0, n_line_feeds - 1)
            self._ends_in_crlf = lines.endswith(b"\r\n")
            try:
                yield lines.decode()
            except UnicodeDecodeError as error:
                line = first_line + lines.count(b"\n", 0, error.start)
                self._bad_byte = self._bad_byte or f"{describe_bad_utf8(error)} (line {line})"
                yield lines.decode(errors="replace")

    def _take_lines(self, most: int) -> bytes:
        """A row's first line; what it is continued on is inside of quotes, and ends with one at the earliest."""
        if self._stream.taken == self._taken_before:
            return self._stream.take_line(most + 1)
        return self._stream.take_lines_without(b'"', most + 1)

    def read_header(self, *, passes_titles: bool = True) -> list[str]:
        """The first row with anything in it, or the names that the layout found in the first below the titles.

        Args:
            passes_titles: What the layout counts as titles is passed over, and two rows are joined.

        Raises:
            SourceError: There is none, or it can't be read.
        """
        n_titles = self.layout.n_title_rows if passes_titles else 0
        while (row := self._next()) is not None:
            cells, findings = row
            for finding in findings:
                hint = SAVE_AS_UTF8 if finding.kind == "not_utf8" else _HOW_TO_QUOTE
                raise SourceError(f"{self._name}, row {self.number}: {finding.message}", hint=hint)
            if any(cell.strip() for cell in cells) and len(self.titles) < n_titles:
                self.titles.append((self.number, " ".join(filter(None, cells))))
            elif any(cell.strip() for cell in cells):
                self.header_rows.append((self.number, tuple(cells)))
                if not passes_titles or not self.layout.joined_header:
                    return cells
                if len(self.header_rows) > 1:
                    return list(self.layout.joined_header)
        raise SourceError(f"{self._name} is empty: it has no row with anything in it.")

    def read(self, columns: Sequence[str]) -> Iterator[Row]:
        """The rows that follow, without those that have nothing in them.

        Raises:
            SourceError: A quote is left open up to the end of the file, or the file can't be read on.
        """
        while (row := self._next()) is not None:
            cells, findings = row
            if not findings and self.is_header(cells):
                self.headers_again.append(self.number)
                continue
            if not findings and len(cells) != len(columns) and any(cell.strip() for cell in cells):
                found = f"{len(cells)} cell{'' if len(cells) == 1 else 's'}"
                findings = (Finding("row_width", f"{found}, but the header names {len(columns)} columns."),)
            if findings:
                yield Row(self.number, {}, findings)
            elif any(cell.strip() for cell in cells):
                yield Row(self.number, dict(zip(columns, cells, strict=True)))

    def is_header(self, cells: Sequence[str]) -> bool:
        """Whether these are the cells of a row that names the columns."""
        return any(tuple(cells) == header for _, header in self.header_rows)

    def _next(self) -> tuple[list[str], tuple[Finding, ...]] | None:
        """The cells of the next row, or why they can't be read; None at the end."""
        self.skip_blank_lines()
        first_line = self.line + 1
        self._taken_before = self._stream.taken
        self._bad_byte = None
        cells: list[str] = []
        finding = None
        try:
            cells = next(self._cells)
        except StopIteration:
            return None
        except csv.Error as error:
            finding = self._explain(error, first_line)
        self.number += 1
        self.windows_line_ends += self._ends_in_crlf
        if self._bad_byte:
            finding = Finding("not_utf8", f"{self._bad_byte}.")
        return cells, () if finding is None else (finding,)

    def skip_blank_lines(self) -> None:
        """Pass over blank lines at once, if many follow; they count as rows."""
        n_lines, n_lf, n_crlf = self._stream.skip_blank_lines()
        self.number += n_lines
        self.line += n_lf
        self.windows_line_ends += n_crlf

    def _explain(self, error: csv.Error, first_line: int) -> Finding:
        if "end of data" in str(error):
            raise SourceError(
                f"{self._name}, row {self.number + 1} (from line {first_line}): a quote is opened and never closed.",
                hint=_HOW_TO_QUOTE,
            ) from None
        last_line = self._this_line
        place = f"line {last_line}" if last_line == first_line else f"lines {first_line} to {last_line}"
        return Finding("bad_quotes", f"text stands right after a closing quote ({place}).")
