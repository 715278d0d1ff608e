"""Sources whose rows are written in the test, and the types of the fixtures that make and read them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa

from retune.config import SourceFormat
from retune.data.example.example import Example
from retune.data.formats.row_format import RowFormat
from retune.data.problems.problems import Finding
from retune.data.sources.blocks import ArrowBlock, Block, Row, RowsBlock, Source, SourceFile

MakeSource = Callable[..., Source]
Choose = Callable[..., RowFormat]
Read = Callable[..., list[Example]]
ReadRows = Callable[..., tuple[list[Row], Source, str]]


class RowsSource(Source):
    """Rows as they are, in one or more files of the same format; a row that is a finding could not be read."""

    def __init__(self, *files: list[Any], file_format: SourceFormat, columns: tuple[str, ...] | None = None) -> None:
        self.name = "data"
        self._blocks: list[Block] = []
        self.files = []
        for number, rows in enumerate(files):
            read = [self._row(place, row) for place, row in enumerate(rows, start=1)]
            names = columns if columns is not None else tuple(dict.fromkeys(key for row in read for key in row.values))
            file = SourceFile(f"{number}.{file_format}", "line", file_format, None, names)
            self.files.append(file)
            self._blocks.append(RowsBlock(number, read, source_bytes=1))

    @staticmethod
    def _row(number: int, row: Any) -> Row:
        return Row(number, {}, (row,)) if isinstance(row, Finding) else Row(number, row)

    def blocks(self) -> Iterator[Block]:
        yield from self._blocks

    def sample(self) -> list[Row]:
        return list(self._blocks[0].rows())[:100]


class ArrowSource(RowsSource):
    """The same as Arrow has them in memory."""

    def __init__(self, rows: list[dict[str, Any]], **settings: Any) -> None:
        super().__init__(rows, **settings)
        self.files = [replace(self.files[0], unit="row")]
        self._blocks = [ArrowBlock(0, 1, pa.RecordBatch.from_pylist(rows), source_bytes=1)]
