import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retune.config import SourceFormat
from retune.data.sources.blocks import BLOCK_BYTES, ArrowBlock, Row
from retune.data.sources.files.locations import find_files
from retune.data.sources.readers.parquet_files import ParquetReader
from retune.errors import SourceError


def open_parquet(path: Path) -> ParquetReader:
    [location] = find_files(str(path), SourceFormat.AUTO)
    return ParquetReader(location)


def write(directory: Path, table: pa.Table, **options: Any) -> Path:
    path = directory / "t.parquet"
    pq.write_table(table, path, **options)
    return path


def rows(reader: ParquetReader) -> list[Row]:
    return [row for block in reader.blocks(0) for row in block.rows()]


def test_values_are_plain_and_rows_are_counted_from_one(tmp_path: Path) -> None:
    path = write(
        tmp_path, pa.table({"text": ["a", None], "n": [1, 2], "chats": [[{"role": "user", "name": None}], []]})
    )
    assert [(row.number, row.values) for row in rows(open_parquet(path))] == [
        (1, {"text": "a", "n": 1, "chats": [{"role": "user"}]}),
        (2, {"text": None, "n": 2, "chats": []}),
    ]


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", "b", None, ""]),
        pa.array(["a", "b", None, ""], pa.large_string()),
        pa.array(["a", "b", None, ""], pa.string_view()),
        pa.array(["a", "b", None, ""]).dictionary_encode(),
    ],
    ids=["string", "large", "view", "dictionary"],
)
def test_every_kind_of_text_is_a_column_of_text(tmp_path: Path, values: Any) -> None:
    [block] = open_parquet(write(tmp_path, pa.table({"text": values}))).blocks(0)
    columns = block.text_columns(["text"])
    assert columns is not None
    assert columns.columns[0].to_pylist() == ["a", "b", None, ""]
    assert columns.numbers.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("text", ["", "the same long text " * 100], ids=["different", "repeated"])
def test_a_row_group_comes_in_blocks(tmp_path: Path, text: str) -> None:
    table = pa.table({"text": [text or f"{number:0>1000}" for number in range(20_000)]})
    reader = open_parquet(write(tmp_path, table, row_group_size=len(table)))
    blocks = [block for block in reader.blocks(0) if isinstance(block, ArrowBlock)]
    assert max(block.batch.nbytes for block in blocks) < 2 * BLOCK_BYTES
    assert len(blocks) > 4
    assert pa.concat_arrays([block.batch.column(0) for block in blocks]) == table["text"].combine_chunks()
    assert [block.first for block in blocks] == [
        1 + sum(len(before.batch) for before in blocks[:index]) for index in range(len(blocks))
    ]
    assert sum(block.source_bytes for block in blocks) == reader.location.size


def test_a_packed_file_is_unpacked_first(tmp_path: Path) -> None:
    plain = write(tmp_path, pa.table({"text": ["a", "b"]}))
    packed = tmp_path / "u.parquet.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert [row.values for row in rows(open_parquet(packed))] == [{"text": "a"}, {"text": "b"}]


def test_a_table_without_rows_has_no_blocks(tmp_path: Path) -> None:
    reader = open_parquet(write(tmp_path, pa.table({"text": pa.array([], pa.string())})))
    assert reader.columns == ("text",)
    assert rows(reader) == []


def test_a_damaged_page_is_named_when_it_is_reached(tmp_path: Path) -> None:
    texts = [f"{number:0>1000}" for number in range(30_000)]
    path = write(tmp_path, pa.table({"text": texts}), compression="zstd", use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"t\.parquet can't be read as Parquet: "):
        rows(open_parquet(path))


@pytest.mark.parametrize("cut", [3, 50, 200])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path, pa.table({"text": ["a" * 100]}))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SourceError, match=r"t\.parquet can't be read as Parquet: "):
        open_parquet(path)


def test_text_by_the_name_of_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("text,category\na,b\n")
    with pytest.raises(SourceError, match=r"t\.parquet can't be read as Parquet: "):
        open_parquet(tmp_path / "t.parquet")


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"]))
    with pytest.raises(SourceError, match=r't\.parquet has more than one column "text"'):
        open_parquet(path)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    reader = open_parquet(write(tmp_path, pa.table({"text": ["a"]})))
    write(tmp_path, pa.table({"text": ["a", "b"]}))
    with pytest.raises(SourceError, match=r"t\.parquet changed while it was read"):
        rows(reader)
