"""Opens a source of any kind as blocks of rows."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice

from retune.config import DataConfig, SourceFormat
from retune.data.problems.problems import FileNote, Finding
from retune.data.sources.blocks import SAMPLE_ROWS, Block, Row, Source, UnreadFile
from retune.data.sources.files.file_formats import (
    UnknownFormatError,
    UnreadableEndingError,
    format_by_name,
    unknown_format,
)
from retune.data.sources.files.found_files import why_not_read
from retune.data.sources.files.locations import Location, find_files, no_data_file
from retune.data.sources.joined import MOST_FILES, open_with_splits
from retune.data.sources.readers.arrow_files import ArrowReader
from retune.data.sources.readers.contents import describe_content, format_by_content
from retune.data.sources.readers.csv_files import CsvReader
from retune.data.sources.readers.json_arrays import NoRowsError, open_json
from retune.data.sources.readers.jsonl_files import JsonLinesReader
from retune.data.sources.readers.parquet_files import ParquetReader
from retune.data.sources.readers.reader import FileReader
from retune.data.sources.readers.workbooks import WorkbookReader
from retune.errors import EmptySourceError, SourceError
from retune.redaction.addresses import without_secrets
from retune.redaction.masking import masked
from retune.training_lines.keys import JsonObject


class FileSource(Source):
    """One file or many, each of which is read by the reader of its format.

    Args:
        name: What people call it.
        readers: The files, opened, in the order in which they are read.
        unread: The files that are left out.

    Raises:
        SourceError: There are too many, or there is no row in any of them.
    """

    def __init__(self, name: str, readers: Sequence[FileReader], unread: Sequence[UnreadFile] = ()) -> None:
        if len(readers) > MOST_FILES:
            raise SourceError(f"{name} has {len(readers):,} files; at most {MOST_FILES:,} can be read at once.")
        self.name = name
        self.files = [reader.source_file for reader in readers]
        self._readers = readers
        self._unread = unread
        self._sample = _first_rows(readers)
        self.late_rows = list(_rows_with_other_keys(readers))
        if not self._sample:
            has = "a header" if self.files[0].format in {SourceFormat.CSV, SourceFormat.TSV} else "columns"
            raise EmptySourceError(f"{name} has {has} and no rows.", hint="Was the export cut off? Give it examples.")

    def blocks(self) -> Iterator[Block]:
        """Read everything, once, in order.

        Raises:
            SourceError: It can't be read on.
        """
        for index, reader in enumerate(self._readers):
            yield from reader.blocks(index)

    def sample(self) -> list[Row]:
        """The first rows, at most 100; reading them takes nothing away from `blocks`."""
        return list(self._sample)

    def notes(self) -> list[FileNote]:
        """What is odd about the text of the files, as far as `blocks` was read."""
        return [
            *self.split_notes,
            *(
                FileNote(index, finding)
                for index, reader in enumerate(self._readers)
                for finding in _text_findings(reader)
            ),
        ]

    def unread(self) -> list[UnreadFile]:
        """See `Source.unread`."""
        return list(self._unread)

    def header_doubt(self) -> str | None:
        """See `Source.header_doubt`."""
        return next((reader.header_doubt for reader in self._readers if reader.header_doubt is not None), None)

    def row_numbers(self) -> dict[int, tuple[int, int]]:
        """See `Source.row_numbers`."""
        return {
            index: reader.notes.row_numbers
            for index, reader in enumerate(self._readers)
            if reader.notes.row_numbers is not None
        }


def open_source(data: DataConfig, on_read: Callable[[int], None] = lambda _n: None) -> Source:
    """Find what the user points at and look at its first rows. It is only ever read.

    Args:
        data: What the user points at.
        on_read: Called with the bytes read so far, of files as they are stored, now and later; it may raise, to stop
            the reading.

    Raises:
        SourceError: It is missing, empty, of another format than its name says, or more than the limits allow.
    """
    return open_with_splits(data, _open_one, on_read)


def _open_one(data: DataConfig, on_read: Callable[[int], None]) -> Source:
    if data.query is not None or "://" in data.source:
        from retune.data.sources.databases.query import is_database, open_query  # noqa: PLC0415  (imports SQLAlchemy)

        if data.query is not None or is_database(data.source):
            return open_query(data, on_read)
    if data.source in ("-", "/dev/stdin"):
        raise SourceError(
            "Can't read from standard input: the first rows are read before the rest.",
            hint="Write it to a file first, and name that.",
        )
    unread: list[UnreadFile] = []
    locations = find_files(
        data.source,
        data.format,
        data.limits,
        follow_links=data.follow_links,
        on_read=on_read,
        on_unread=unread.append,
    )
    readers = _open_files(locations, data, unread)
    if data.sheet is not None and all(reader.format is not SourceFormat.EXCEL for reader in readers):
        raise SourceError(f"--sheet is for workbooks; {without_secrets(data.source)} has none.", hint="Leave it out.")
    return FileSource(without_secrets(data.source), readers, unread)


def _open_files(locations: Sequence[Location], data: DataConfig, unread: list[UnreadFile]) -> list[FileReader]:
    """Open each; JSON that holds no rows is left out where other files do, and what is only tried where it can't be."""
    opened: dict[int, Sequence[FileReader]] = {}
    first_error: SourceError | None = None
    # What is tried comes after the others, as it is read only beside files like it.
    for place, location in sorted(enumerate(locations), key=lambda pair: pair[1].is_tried):
        try:
            readers = _open_file(location, data)
        except NoRowsError as error:
            first_error = first_error or error
            unread.append(UnreadFile(location.name, error.message.removeprefix(f"{location.name}: "), True))
        except SourceError as error:
            # A server that does not answer must not decide which files are trained on.
            is_unknown = isinstance(error, UnknownFormatError | UnreadableEndingError)
            if not location.is_tried or (location.path is None and not is_unknown):
                raise
            unread.append(_not_read(location, error))
        else:
            first = next((reader for others in opened.values() for reader in others), None)
            if location.is_tried and first is not None and not {*first.columns} <= {*readers[0].columns}:
                unread.append(_unlike(location, first, readers[0]))
            else:
                opened[place] = readers
    found = [reader for place in sorted(opened) for reader in opened[place]]
    unread += [file for reader in found if isinstance(reader, WorkbookReader) for file in reader.unread]
    if not found:
        raise first_error or no_data_file(without_secrets(data.source), data.format, unread)
    return found


def _not_read(location: Location, error: SourceError) -> UnreadFile:
    """Why a file that was only tried is not read."""
    if isinstance(error, UnknownFormatError):
        return why_not_read(location.name, location.suffix)
    reason = f"{error.message.removeprefix(f'{location.name} ').rstrip('.')}; {error.hint}".rstrip(".")
    return UnreadFile(location.name, reason, may_hold_examples=True)


def _unlike(location: Location, first: FileReader, reader: FileReader) -> UnreadFile:
    columns, wanted = (masked(", ".join(each.columns), 0, 60) for each in (reader, first))
    reason = (
        f"by its content, it has the columns {columns}, and {first.location.name} has {wanted}; name it by "
        f"itself, or give it the same columns and the ending .{reader.format}"
    )
    return UnreadFile(location.name, reason, may_hold_examples=True)


def _open_file(location: Location, data: DataConfig) -> Sequence[FileReader]:
    if data.format is not SourceFormat.AUTO:
        return _open_as(data.format, location, data)
    named = format_by_name(location)
    # Of a server each look would be a request.
    found = format_by_content(location, named) if named is None or location.path is not None else None
    if found is None and named is None:
        raise unknown_format(location)
    readers = _open_as(found or named or data.format, location, data)
    if found is not None:
        readers[0].findings += (Finding("layout", f"{describe_content(named, found)}."),)
    return readers


def _open_as(file_format: SourceFormat, location: Location, data: DataConfig) -> Sequence[FileReader]:
    if file_format is SourceFormat.PICKLE:
        from retune.data.sources.readers.pickle_files import PickleReader  # noqa: PLC0415  (imports pandas)

        return [PickleReader(location, trust=data.trust_pickle)]
    if file_format is SourceFormat.EXCEL:
        return [WorkbookReader(location, data.sheet)]
    if file_format is SourceFormat.JSON:
        return open_json(location)
    if file_format in (SourceFormat.CSV, SourceFormat.TSV):
        return [CsvReader(location, file_format, has_header=not data.no_header)]
    if file_format not in _READERS:
        raise SourceError(f"{location.name} is a file; the format {file_format} is for a database's address.")
    return [_READERS[file_format](location)]


def _first_rows(readers: Sequence[FileReader]) -> list[Row]:
    return list(islice(chain.from_iterable(reader.sample() for reader in readers), SAMPLE_ROWS))


def _rows_with_other_keys(readers: Sequence[FileReader]) -> Iterator[JsonObject]:
    """Of the files that have columns which none before them has, some of the first rows."""
    known = set(readers[0].columns)
    n_files = 0
    for reader in readers[1:]:
        other = {*reader.columns} - known
        if other and n_files < _MOST_OTHER_FILES:
            n_files += 1
            rows = (row.values for row in reader.sample() if not row.findings)
            yield from islice((row for row in rows if not other.isdisjoint(row)), _MOST_OTHER_ROWS)
        known |= other


def _text_findings(reader: FileReader) -> Iterator[Finding]:
    if reader.notes.has_byte_order_mark:
        yield Finding("byte_order_mark", "the file starts with a byte order mark.")
    yield from reader.findings
    if reader.header_doubt is not None:
        yield Finding("header_missing", f"the first row may be an example: {reader.header_doubt}.")
    yield from (Finding("layout", f"{text}.") for text in reader.notes.layout)
    yield from reader.notes.totals
    count = reader.notes.windows_line_ends
    if count:
        yield Finding("windows_line_ends", f"{count:,} line{' ends' if count == 1 else 's end'} in CRLF.")


# Their rows stay in memory, and may be large.
_MOST_OTHER_FILES, _MOST_OTHER_ROWS = 16, 12

_READERS: dict[SourceFormat, Callable[[Location], FileReader]] = {
    SourceFormat.JSONL: JsonLinesReader,
    SourceFormat.PARQUET: ParquetReader,
    SourceFormat.ARROW: ArrowReader,
}
