"""Parquet: read in pieces of a row group, so that memory doesn't grow with it."""

import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from retune.config import SourceFormat
from retune.data.blocks import BLOCK_BYTES, ArrowBlock, Block
from retune.data.sources.locations import Location
from retune.data.sources.reader import FileReader, unique_columns
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
        with self._open() as file:
            self.columns = unique_columns(file.schema_arrow.names, location.name)
            self._names, self._n_rows = file.schema_arrow.names, file.metadata.num_rows

    def blocks(self, file: int) -> Generator[Block, None, None]:
        """Read the whole file; see `FileReader`."""
        size, told, number = self.location.size or 0, 0, 0
        with self._open() as parquet:
            if parquet.schema_arrow.names != self._names or parquet.metadata.num_rows != self._n_rows:
                raise self.changed()
            for batch in self._batches(parquet):
                told_before, told = told, size * (number + len(batch)) // self._n_rows
                yield ArrowBlock(file, number + 1, batch, source_bytes=told - told_before)
                number += len(batch)

    def _batches(self, file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
        group_bytes = sum(file.metadata.row_group(index).total_byte_size for index in range(file.num_row_groups))
        batch_rows = max(1, min(_MOST_ROWS, BLOCK_BYTES * self._n_rows // max(1, group_bytes)))
        for batch in file.iter_batches(batch_size=batch_rows, use_threads=False):
            columns = [_decoded(column) for column in batch.columns]
            yield from _slices(pa.RecordBatch.from_arrays(columns, names=list(self.columns)))

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        name = self.location.name
        try:
            with self._stream() as stream, pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
                yield file
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            if isinstance(error, SourceError):
                raise
            reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
            raise SourceError(f"{name} can't be read as Parquet: {reason}.") from error

    @contextmanager
    def _stream(self) -> Iterator[BinaryIO]:
        with self.location.open() as stream:
            if stream.seekable():
                yield stream
                return
            with tempfile.TemporaryFile() as unpacked:
                shutil.copyfileobj(stream, unpacked, _BUFFER_BYTES)
                yield cast("BinaryIO", unpacked)


def _decoded(column: pa.Array) -> pa.Array:
    """Columns of categories are columns of text, as far as examples are concerned."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    n_slices = max(1, min(len(batch), batch.nbytes // BLOCK_BYTES))
    length = -(-len(batch) // n_slices)
    for start in range(0, len(batch), max(1, length)):
        yield batch.slice(start, length)
