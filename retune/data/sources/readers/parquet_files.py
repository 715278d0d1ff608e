"""Parquet: read in pieces of a row group, so that memory doesn't grow with it."""

import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from retune.config import SourceFormat
from retune.data.sources.blocks import BLOCK_BYTES, ArrowBlock, Block
from retune.data.sources.files.locations import Location
from retune.data.sources.readers.batches import (
    BYTES_A_VALUE,
    MOST_BATCH_BYTES,
    MOST_ROWS_AT_ONCE,
    LabelNames,
    decoded,
    slices,
    weight,
)
from retune.data.sources.readers.parquet_pages import ColumnPages, longest_text, read_pages
from retune.data.sources.readers.reader import FileReader, TextNotes, unique_columns
from retune.errors import SourceError

# What a row group says of its size is that of its encoded columns; texts that repeat take far more once decoded.
_MOST_ROWS = 16_384
_BUFFER_BYTES = 1 << 20


class ParquetReader(FileReader):
    """A Parquet file. It is read from its end: one that is packed or can't seek is copied to a temporary file first.

    Args:
        location: The file.

    Raises:
        SourceError: It can't be read, or two columns have the same name.
    """

    def __init__(self, location: Location) -> None:
        super().__init__(location, SourceFormat.PARQUET, "row")
        self._decoded_bytes = 0
        with self._open() as (file, stream):
            self.columns = unique_columns(file.schema_arrow.names, location.name)
            self._names, self._n_rows = file.schema_arrow.names, file.metadata.num_rows
            self._labels = LabelNames.of(file.schema_arrow)
            self._groups = list(self._plan(file, stream))

    def blocks(self, file: int) -> Generator[Block, None, None]:
        """Read the whole file; see `FileReader`."""
        size, reported, number = self.location.size or 0, 0, 0
        decoded_bytes = 0
        self.notes = TextNotes(layout=self._labels.notes())
        with self._open() as (parquet, _):
            if parquet.schema_arrow.names != self._names or parquet.metadata.num_rows != self._n_rows:
                raise self.changed()
            for batch in self._batches(parquet):
                reported_before, reported = reported, size * (number + len(batch)) // self._n_rows
                decoded_bytes += weight(batch)
                self.location.bounds.count(self.location.name, decoded_bytes, self.location.size)
                yield ArrowBlock(file, number + 1, batch, source_bytes=reported - reported_before)
                number += len(batch)

    def _batches(self, file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
        for groups, batch_rows in self._groups:
            for batch in file.iter_batches(batch_size=batch_rows, row_groups=groups, use_threads=False):
                columns = [self._labels.named(name, decoded(batch.column(name))) for name in self._names]
                batch_of_all = pa.RecordBatch.from_arrays(columns, names=list(self.columns))
                yield from slices(batch_of_all, self.location)

    def _plan(self, file: pq.ParquetFile, stream: BinaryIO) -> Iterator[tuple[list[int], int]]:
        """Which row groups to read together, and how many of their rows at a time."""
        groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
        group_bytes = sum(group.total_byte_size for group in groups)
        most_rows = max(1, min(_MOST_ROWS, BLOCK_BYTES * self._n_rows // max(1, group_bytes)))
        rows = [min(most_rows, self._safe_rows(stream, group, most_rows, index)) for index, group in enumerate(groups)]
        for batch_rows, indices in groupby(range(len(rows)), rows.__getitem__):
            yield list(indices), batch_rows

    def _safe_rows(self, stream: BinaryIO, group: pq.RowGroupMetaData, most_rows: int, index: int) -> int:
        """How many rows of a group may be decoded at once; what would take too much at any rate is refused."""
        bounds, name = self.location.bounds, self.location.name
        columns = [group.column(place) for place in range(group.num_columns)]
        pages = [self._pages(stream, column) for column in columns]
        self._decoded_bytes += sum(part.decoded_bytes for part in pages)
        bounds.count(name, self._decoded_bytes, self.location.size)
        if sum(part.largest_bytes for part in pages) > MOST_ROWS_AT_ONCE * bounds.row_bytes:
            raise bounds.row_too_large(f"{name}, row group {index + 1}: what can only be unpacked at once")
        row_bytes = 1
        for column, part in zip(columns, pages, strict=True):
            n_values = -(-part.n_values // max(1, group.num_rows))
            row_bytes += BYTES_A_VALUE * n_values
            # A text that is written once may stand in every row.
            if part.dictionary and column.physical_type == "BYTE_ARRAY":
                longest = part.dictionary[-1]
                if longest * n_values * most_rows > MOST_BATCH_BYTES:
                    longest = longest_text(stream, column, part)
                row_bytes += longest * n_values
        return max(1, MOST_BATCH_BYTES // row_bytes)

    def _pages(self, stream: BinaryIO, column: pq.ColumnChunkMetaData) -> ColumnPages:
        if self._is_here:
            return read_pages(stream, column)
        # From elsewhere every page would be fetched twice: what the file says of itself has to do.
        return ColumnPages(n_values=column.num_values, unpacked_bytes=column.total_uncompressed_size)

    @contextmanager
    def _open(self) -> Iterator[tuple[pq.ParquetFile, BinaryIO]]:
        name = self.location.name
        try:
            with self._stream() as stream, pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
                yield file, stream
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            if isinstance(error, SourceError):
                raise
            reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
            raise SourceError(f"{name} can't be read as Parquet: {reason}.") from error

    @contextmanager
    def _stream(self) -> Iterator[BinaryIO]:
        with self.location.open() as stream:
            self._is_here = self.location.path is not None or not stream.seekable()
            if stream.seekable():
                yield stream
                return
            with tempfile.TemporaryFile() as unpacked:
                shutil.copyfileobj(stream, unpacked, _BUFFER_BYTES)
                yield cast("BinaryIO", unpacked)
