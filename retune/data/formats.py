"""One reader per source format, all answering with the same kind of table."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retune.config import SourceFormat
from retune.data.encoding import decode_utf8, read_bytes
from retune.data.jsonl import read_numbered_jsonl
from retune.errors import SourceError

Row = tuple[str, dict[str, Any]]
"""A row's place in the source ("row 12") and its values by column name."""

FORMAT_BY_SUFFIX = {
    ".csv": SourceFormat.CSV,
    ".tsv": SourceFormat.CSV,
    ".jsonl": SourceFormat.JSONL,
    ".ndjson": SourceFormat.JSONL,
    ".parquet": SourceFormat.PARQUET,
    ".pq": SourceFormat.PARQUET,
    ".pkl": SourceFormat.PICKLE,
    ".pickle": SourceFormat.PICKLE,
}


@dataclass(frozen=True, slots=True)
class Table:
    """A source that was opened.

    Attributes:
        columns: The names of its columns, in order; as often as the source has them.
        rows: Reads the rows, with the values of the columns asked for (JSONL gives all that a line has). Missing
            values are None.
    """

    columns: Sequence[str]
    rows: Callable[[Sequence[str]], Iterator[Row]]


def open_table(path: Path, source_format: SourceFormat) -> Table:
    """Open a source in a format that is known.

    Raises:
        SourceError: It isn't of this format, or its text isn't UTF-8.
    """
    return _READERS[source_format](path)


def _open_csv(path: Path) -> Table:
    """Text stays text: "NA" and "null" are words, and numbers stay as they are written."""
    text = decode_utf8(read_bytes(path), path)
    rows = _read_csv_rows(text, path)
    _, header = next(rows, ("", []))
    if not header:
        raise SourceError(f"{path} is empty: it has no row with anything in it.")

    def read(names: Sequence[str]) -> Iterator[Row]:
        places = [(name, header.index(name)) for name in names]
        for location, cells in rows:
            yield location, {name: cells[place] for name, place in places}

    return Table(header, read)


def _read_csv_rows(text: str, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Rows with their number as a spreadsheet shows it, the header first; rows with nothing in them are left out."""
    # The limit is there for readers that stream. This text is in memory already, and an example may well be long.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, path), strict=True)
    width = number = first_line = 0
    try:
        for number, cells in enumerate(reader, start=1):
            if any(cell.strip() for cell in cells):
                width = width or len(cells)
                _check_width(len(cells), width, f"{path}, row {number} (line {first_line + 1})")
                yield f"row {number}", cells
            first_line = reader.line_num
    except csv.Error as error:
        raise SourceError(
            f"{path}, row {number + 1} (from line {first_line + 1}): not valid CSV ({error}).",
            hint='A cell that starts with a quote must end with one; a quote inside it is written twice: "".',
        ) from None


def _delimiter(text: str, path: Path) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    header = text.lstrip().partition("\n")[0]
    return next((mark for mark in (",", ";", "\t") if mark in header), ",")


def _check_width(found: int, expected: int, where: str) -> None:
    if found != expected:
        raise SourceError(
            f"{where} has {found} cell{'' if found == 1 else 's'}, but the header names {expected} columns.",
            hint="Put a cell that holds the separator in quotes.",
        )


def _open_jsonl(path: Path) -> Table:
    objects = list(read_numbered_jsonl(path))
    if not objects:
        raise SourceError(f"{path} is empty: it has no line with anything in it.")
    columns = list(dict.fromkeys(key for _, value in objects for key in value))
    return Table(columns, lambda _names: ((f"line {number}", value) for number, value in objects))


def _open_parquet(path: Path) -> Table:
    import pyarrow as pa  # noqa: PLC0415  (slow to import; only this format needs it)
    import pyarrow.parquet as pq  # noqa: PLC0415

    def explain(error: Exception) -> SourceError:
        return SourceError(f"{path} can't be read as Parquet: {str(error).rstrip('.')}.")

    def read(names: Sequence[str]) -> Iterator[Row]:
        number = 0
        try:
            for batch in file.iter_batches(columns=list(names)):
                for values in batch.to_pylist():
                    number += 1
                    yield f"row {number}", {name: _without_nulls(values[name]) for name in names}
        except (pa.ArrowException, OSError, ValueError) as error:
            raise explain(error) from error

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise explain(error) from error
    return Table(file.schema_arrow.names, read)


def _without_nulls(value: Any) -> Any:
    """Drop null fields: a Parquet struct has every field in every row, so `null` there means that it has none."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _open_pickle(path: Path) -> Table:
    from retune.data.pickles import read_pickled_columns  # noqa: PLC0415  (imports pandas)

    columns = read_pickled_columns(path)

    def read(names: Sequence[str]) -> Iterator[Row]:
        values = dict(columns)
        for number, cells in enumerate(zip(*(values[name] for name in names), strict=True), start=1):
            yield f"row {number}", dict(zip(names, cells, strict=True))

    return Table([name for name, _ in columns], read)


_READERS: dict[SourceFormat, Callable[[Path], Table]] = {
    SourceFormat.CSV: _open_csv,
    SourceFormat.JSONL: _open_jsonl,
    SourceFormat.PARQUET: _open_parquet,
    SourceFormat.PICKLE: _open_pickle,
}
