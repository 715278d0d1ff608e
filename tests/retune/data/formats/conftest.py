"""Sources whose rows are written in the test."""

from typing import Any

import pytest
from rows_source import ArrowSource, Choose, MakeSource, Read, ReadRows, RowsSource

from retune.config import DataConfig, SourceFormat, SplitConfig
from retune.data.example.example import Example, Method
from retune.data.formats.detect import choose_format
from retune.data.formats.message_rows.source import put_together
from retune.data.formats.row_format import RowFormat
from retune.data.sources.blocks import Source
from retune.message_rows_config import MessageRowsConfig


@pytest.fixture
def make_source() -> MakeSource:
    def make(*files: list[Any], file_format: str = "jsonl", columns: tuple[str, ...] | None = None) -> Source:
        return RowsSource(*files, file_format=SourceFormat(file_format), columns=columns)

    return make


@pytest.fixture
def make_table() -> MakeSource:
    def make(rows: list[dict[str, Any]]) -> Source:
        return ArrowSource(rows, file_format=SourceFormat.PARQUET)

    return make


@pytest.fixture
def choose() -> Choose:
    def choose(
        source: Source, method: Method | None = None, split: SplitConfig | None = None, **settings: Any
    ) -> RowFormat:
        return choose_format(source, DataConfig(source="data", **settings), split or SplitConfig(), method)

    return choose


@pytest.fixture
def read(choose: Choose) -> Read:
    """Every example of a source, in the shape that is chosen for it."""

    def read(source: Source, **settings: Any) -> list[Example]:
        shape = choose(source, **settings)
        return [example for block in source.blocks() for example in shape.examples(block)]

    return read


@pytest.fixture
def read_rows(make_source: MakeSource) -> ReadRows:
    """The conversations of a table of messages, the source that gave them, and the title of their shape."""

    def read(*files: list[Any], file_format: str = "csv", **settings: Any) -> Any:
        data = DataConfig(source="data", message_rows=MessageRowsConfig(**settings))
        source = put_together(make_source(*files, file_format=file_format), data)
        title = choose_format(source, data, SplitConfig(), None).title
        return [row for block in source.blocks() for row in block.rows()], source, title

    return read
