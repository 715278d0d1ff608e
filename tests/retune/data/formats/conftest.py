"""Sources whose rows are written in the test."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from retune.config import DataConfig, SourceFormat, SplitConfig
from retune.data.example.example import Example, Method
from retune.data.formats.detect import choose_format
from retune.data.formats.message_rows.source import put_together
from retune.data.formats.row_format import RowFormat
from retune.data.problems.problems import Finding
from retune.data.sources.blocks import ArrowBlock, Block, Row, RowsBlock, Source, SourceFile
from retune.message_rows_config import MessageRowsConfig


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


@pytest.fixture
def make_source() -> Callable[..., Source]:
    def make(*files: list[Any], file_format: str = "jsonl", columns: tuple[str, ...] | None = None) -> Source:
        return RowsSource(*files, file_format=SourceFormat(file_format), columns=columns)

    return make


@pytest.fixture
def make_table() -> Callable[..., Source]:
    def make(rows: list[dict[str, Any]]) -> Source:
        return ArrowSource(rows, file_format=SourceFormat.PARQUET)

    return make


@pytest.fixture
def choose() -> Callable[..., RowFormat]:
    def choose(
        source: Source, method: Method | None = None, split: SplitConfig | None = None, **settings: Any
    ) -> RowFormat:
        return choose_format(source, DataConfig(source="data", **settings), split or SplitConfig(), method)

    return choose


@pytest.fixture
def read(choose: Callable[..., RowFormat]) -> Callable[..., list[Example]]:
    """Every example of a source, in the shape that is chosen for it."""

    def read(source: Source, **settings: Any) -> list[Example]:
        shape = choose(source, **settings)
        return [example for block in source.blocks() for example in shape.examples(block)]

    return read


@pytest.fixture
def read_rows(make_source):
    """The conversations of a table of messages, the source that gave them, and the title of their shape."""

    def read(*files, file_format="csv", **settings):
        data = DataConfig(source="data", message_rows=MessageRowsConfig(**settings))
        source = put_together(make_source(*files, file_format=file_format), data)
        title = choose_format(source, data, SplitConfig(), None).title
        return [row for block in source.blocks() for row in block.rows()], source, title

    return read
