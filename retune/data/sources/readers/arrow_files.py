"""Arrow files and streams, also those that Hugging Face's `save_to_disk` writes: read a batch at a time."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retune.config import SourceFormat
from retune.data.sources.blocks import ArrowBlock, Block
from retune.data.sources.files.file_formats import refuse_other_formats
from retune.data.sources.files.locations import Location
from retune.data.sources.readers.arrow_messages import FILE_MARK, CheckedMessages
from retune.data.sources.readers.batches import BYTES_A_VALUE, MOST_BATCH_BYTES, LabelNames, decoded, slices, weight
from retune.data.sources.readers.reader import FileReader, TextNotes, unique_columns
from retune.data.text.arrow_arrays import buffer_numbers
from retune.errors import SourceError

_Check = Callable[[pa.DataType], bool]

_FEATHER_1 = b"FEA1"
_PARQUET = "Write it again as Parquet: df.to_parquet(…)."


class ArrowReader(FileReader):
    """An Arrow file or stream (Feather version 2 is such a file). It is read from its start to its end.

    Args:
        location: The file.

    Raises:
        SourceError: It can't be read, or two columns have the same name.
    """

    def __init__(self, location: Location) -> None:
        super().__init__(location, SourceFormat.ARROW, "row")
        with self._open() as (reader, _):
            self._schema = reader.schema
            self.columns = unique_columns(reader.schema.names, location.name)
            for name, kind in zip(self.columns, reader.schema.types, strict=True):
                _refuse_unsafe(kind, f'{location.name}: the column "{name}"')
            self._labels = LabelNames.of(reader.schema)

    def blocks(self, file: int) -> Generator[Block, None, None]:
        """Read the whole file; see `FileReader`."""
        number = taken = reported = 0
        self.notes = TextNotes(layout=self._labels.notes())
        with self._open() as (reader, messages):
            if not reader.schema.equals(self._schema):
                raise self.changed()
            for batch in self._batches(reader):
                taken += max(weight(batch), BYTES_A_VALUE * len(batch) * batch.num_columns)
                self.location.bounds.count(self.location.name, taken, self.location.size)
                read = min(messages.bytes_read, self.location.size or 0)
                yield from ArrowBlock(file, number + 1, batch, source_bytes=read - reported).pieces()
                reported, number = read, number + len(batch)

    def _batches(self, reader: pa.RecordBatchStreamReader) -> Iterator[pa.RecordBatch]:
        for batch in reader:
            batch.validate(full=True)
            for part in _safe_slices(batch):
                columns = [self._labels.named(name, decoded(part.column(name))) for name in self._schema.names]
                yield from slices(pa.RecordBatch.from_arrays(columns, names=list(self.columns)), self.location)

    @contextmanager
    def _open(self) -> Iterator[tuple[pa.RecordBatchStreamReader, CheckedMessages]]:
        name = self.location.name
        try:
            with self.location.open() as stream:
                self._pass_over_mark(stream)
                messages = CheckedMessages(stream, self.location)
                with pa.ipc.open_stream(messages) as reader:
                    yield reader, messages
        except SourceError:
            raise
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
            raise SourceError(f"{name} can't be read as Arrow: {reason}.", hint=_PARQUET) from error

    def _pass_over_mark(self, stream: BinaryIO) -> None:
        head = stream.peek(len(FILE_MARK))[: len(FILE_MARK)]  # type: ignore[attr-defined]  # it is a BufferedReader
        if head.startswith(_FEATHER_1):
            raise SourceError(
                f"{self.location.name} is Feather version 1, which Arrow no longer writes.", hint=_PARQUET
            )
        if head == FILE_MARK:
            stream.read(len(FILE_MARK))
        elif not head.startswith(b"\xff\xff\xff\xff"):
            refuse_other_formats(head, self.location.name, "Arrow")


def _refuse_unsafe(kind: pa.DataType, what: str) -> None:
    """Refuse types whose values may be shared so that a few bytes make gigabytes of rows."""
    types = pa.types
    is_shared: list[_Check] = [types.is_run_end_encoded, types.is_list_view, types.is_large_list_view, types.is_union]
    is_nested = types.is_nested(kind)
    inner = [kind.field(place).type for place in range(kind.num_fields)] if is_nested else []
    is_shared_inside: list[_Check] = [types.is_dictionary, types.is_string_view, types.is_binary_view]
    if any(check(kind) for check in is_shared) or any(check(part) for check in is_shared_inside for part in inner):
        raise SourceError(f"{what} has the type {kind}; expected text, numbers, lists or structs.", hint=_PARQUET)
    for part in inner:
        _refuse_unsafe(part, what)


def _safe_slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Slices that take little once their dictionaries are decoded: a text that is there once may stand in every row."""
    row_bytes = 1 + sum(map(_longest, batch.columns))
    n_rows = max(1, MOST_BATCH_BYTES // row_bytes)
    for start in range(0, len(batch), n_rows):
        yield batch.slice(start, n_rows)


def _longest(column: "pa.Array[Any]") -> int:
    """The length of the longest value that rows of a column share."""
    if pa.types.is_string_view(column.type) or pa.types.is_binary_view(column.type):
        # Of 16 bytes a value, the first four are its length.
        lengths = buffer_numbers(column.buffers()[1], np.int32)[::4][column.offset : column.offset + len(column)]
        return int(lengths.max(initial=0))
    if not isinstance(column, pa.DictionaryArray) or len(column.dictionary) == 0:
        return 0
    shared: pa.Array[Any] = column.dictionary
    if not isinstance(shared, pa.StringArray | pa.LargeStringArray | pa.BinaryArray | pa.LargeBinaryArray):
        return weight(shared)
    return int(pc.max(pc.binary_length(shared)).as_py() or 0)
