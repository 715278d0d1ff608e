"""Files of a few kilobytes that unpack to more than anybody means to read, and rows without end."""

import gzip
import json
import pickle
import sqlite3
import struct
import zipfile
from collections.abc import Callable, Iterable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retune.config import DataConfig, LimitsConfig
from retune.data.sources.blocks import Row
from retune.data.sources.open import open_source
from retune.errors import SourceError

MB = 1 << 20
EXAMPLE = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'


def read(path: Path | str, *, limits: dict[str, Any] | None = None, **settings: Any) -> list[Row]:
    source = open_source(DataConfig(source=str(path), limits=LimitsConfig(**(limits or {})), **settings))
    return [row for block in source.blocks() for row in block.rows()]


def gzipped(path: Path, parts: Iterable[bytes]) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.writelines(parts)
    return path


def zstd(path: Path, parts: Iterable[bytes]) -> Path:
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        for part in parts:
            stream.write(part)
    return path


# Each is some hundred kilobytes or less, and eighty megabytes unpacked.
BOMBS: dict[str, Iterable[bytes]] = {
    "t.jsonl": (EXAMPLE, b"\n", *[b"\n" * MB] * 80, EXAMPLE),
    "t.csv": (b"question,answer\na,b\n", *[b"\n" * MB] * 80, b"c,d\n"),
    "t.tsv": (b"question\tanswer\na\tb\n", *[b"\r\n" * (MB // 2)] * 80, b"c\td\n"),
    "t.json": (b"[", EXAMPLE, *[b" " * MB] * 80, b"]"),
}


# How a file is packed and what it holds are read by different code: each of both once is enough.
@pytest.mark.slow
@pytest.mark.parametrize(("name", "pack"), [*zip(BOMBS, [gzipped, zstd] * 2, strict=True)])
def test_what_unpacks_to_many_times_its_size_is_refused(
    tmp_path: Path, pack: Callable[[Path, Iterable[bytes]], Path], name: str
) -> None:
    path = pack(tmp_path / f"{name}.packed", BOMBS[name])
    settings = {"format": name.removeprefix("t.")}
    with pytest.raises(SourceError, match=r"unpacks to more than 10 times its size.*--max-unpacked-ratio") as caught:
        read(path, limits={"max_unpacked_ratio": 10}, **settings)
    assert caught.value.message.startswith(str(path))
    rows = read(path, limits={"max_unpacked_ratio": 1e9}, **settings)
    assert len(rows) == len([row for row in rows if not row.findings]) == (1 if name == "t.json" else 2)


def test_small_files_may_be_packed_as_well_as_they_can(tmp_path: Path) -> None:
    for number in range(3):
        gzipped(tmp_path / f"{number}.csv.gz", [b"question,answer\n", b"a,b\n" * 200_000])
    assert len(read(tmp_path)) == 600_000


def test_many_small_bombs_are_one_large_one(tmp_path: Path) -> None:
    for number in range(4):
        gzipped(tmp_path / f"{number}.jsonl.gz", [EXAMPLE, b"\n", *[b"\n" * MB] * 30])
    with pytest.raises(SourceError, match=r"[123]\.jsonl\.gz unpacks to more than 10 times"):
        read(tmp_path, limits={"max_unpacked_ratio": 10})


def test_a_source_has_a_largest_size(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text("question,answer\n" + "a,b\n" * 100_000)
    with pytest.raises(SourceError, match=r"2\.csv: the source has more than 0\.001 GB, unpacked\..*--max-source-gb"):
        read(tmp_path, limits={"max_source_gb": 0.001})
    assert len(read(tmp_path, limits={"max_source_gb": 0.01})) == 300_000


def test_a_member_of_an_archive_is_packed_as_well(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", b"question,answer\na,b\n" + b"\n" * (80 * MB))
    with pytest.raises(SourceError, match="unpacks to more than 200 times its size"):
        read(f"zip://t.csv::file://{tmp_path}/t.zip")


LONG = b"x" * (6 * MB)


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("t.jsonl", EXAMPLE + b'\n{"a": "' + LONG + b'"}\n', "line 2"),
        ("t.json", b"[" + EXAMPLE + b', {"a": "' + LONG + b'"}]', "row 2"),
        ("t.csv", b'question,answer\n"' + LONG + b'",b\n', "row 2"),
    ],
)
def test_a_row_has_a_largest_size(tmp_path: Path, name: str, content: bytes, place: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"{name}, {place} is longer than 4 MB\..*--max-row-mb"):
        read(tmp_path / name, limits={"max_row_mb": 4})
    assert read(tmp_path / name, limits={"max_row_mb": 16})[-1].number == 2


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_a_row_with_a_million_values_is_not_made(tmp_path: Path, name: str) -> None:
    row = b'{"messages": [' + b"[]," * 1_500_000 + b"[]]}"
    (tmp_path / name).write_bytes(b"[" + row + b"]" if name == "t.json" else EXAMPLE + b"\n" + row)
    try:
        message = read(tmp_path / name)[-1].findings[0].message
    except SourceError as error:
        message = error.message
    assert "it has more than 1,000,000 values, and no example has" in message


def test_a_table_has_a_largest_width(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",".join(f"c{number}" for number in range(20_000)) + "\n")
    with pytest.raises(SourceError, match=r"t\.csv has 20,000 columns; at most 16,384 can be read"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_objects_have_a_largest_number_of_keys(tmp_path: Path, name: str) -> None:
    text = json.dumps({f"k{number}": 1 for number in range(20_000)})
    (tmp_path / name).write_text(f"[{text}]" if name == "t.json" else text)
    with pytest.raises(SourceError, match=rf"{name} has 20,000 columns; at most 16,384 can be read"):
        read(tmp_path / name)


def test_few_rows_are_kept_of_large_ones(tmp_path: Path) -> None:
    row = json.dumps({"question": "x" * MB, "answer": "b"})
    (tmp_path / "t.jsonl").write_text(f"{row}\n" * 40)
    source = open_source(DataConfig(source=str(tmp_path / "t.jsonl")))
    assert len(source.sample()) == 12
    assert sum(1 for block in source.blocks() for _ in block.rows()) == 40


def pickled(path: Path, value: Any) -> Path:
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol=5))
    return path


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\x80\x04(" + b"]" * (4 * MB) + b"l.", "takes more than 64 MB of memory"),
        (b"\x80\x04(" + b"\x8f" * MB + b"l.", "takes more than 64 MB of memory"),
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc.", "can't be read as a pickled table"),
        (
            b"\x80\x02cbuiltins\nbytearray\n\x8a\x06" + (1 << 40).to_bytes(6, "little") + b"\x85R.",
            "unexpected bytearray",
        ),
        (
            b"\x80\x04]\x94("
            + b"K\x01" * 100_000
            + b"e0cbuiltins\nfrozenset\n\x94]("
            + b"h\x01h\x00\x85R" * 100
            + b"e.",
            "takes more than 64 MB of memory",
        ),
        (pd.DataFrame(index=pd.RangeIndex(10**10)), r"unexpected index of 10,000,000,000 rows"),
        ([{"question": 10**5_000, "answer": "b"}], r"row 1: a number has more digits than can be written"),
        ([{"question": "x" * (5 * MB), "answer": "b"}], r"row 1 is longer than 4 MB"),
        ([{"question": "x" * (3 * MB), "answer": "b"}] * 1_000, r"unpacks to more than 200 times its size"),
    ],
    ids=["lists", "sets", "bytes", "call", "copies", "index", "digits", "row", "shared"],
)
def test_a_pickle_takes_no_more_memory_than_it_may(tmp_path: Path, value: Any, reason: str) -> None:
    path = pickled(tmp_path / "t.pkl", value)
    with pytest.raises(SourceError, match=reason):
        read(path, limits={"max_pickle_mb": 64, "max_row_mb": 4})


def test_nested_lists_are_not_rows(tmp_path: Path) -> None:
    value: Any = "a"
    for _ in range(12):
        value = [value] * 10
    with pytest.raises(SourceError, match="row 1 is longer than 32 MB"):
        read(pickled(tmp_path / "t.pkl", [{"question": value, "answer": "b"}]))


def test_a_pickle_is_read_no_further_than_it_may_be(tmp_path: Path) -> None:
    path = gzipped(tmp_path / "t.pkl.gz", [pickle.dumps([{"question": "x" * (20 * MB), "answer": "b"}])])
    with pytest.raises(SourceError, match=r"takes more than 16 MB of memory.*--max-pickle-mb"):
        read(path, limits={"max_pickle_mb": 16})
    assert len(read(path, limits={"max_pickle_mb": 64})) == 1


def test_decimals_and_tables_are_read_as_ever(tmp_path: Path) -> None:
    table = pd.DataFrame({"question": ["a", "b"], "answer": [Decimal("1.5"), Decimal("1e999999")]})
    assert len(read(pickled(tmp_path / "t.pkl", table))) == 2


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **{"compression": "zstd", **options})
    return path


def test_a_text_that_is_written_once_and_stands_in_every_row(tmp_path: Path) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["a" * MB]))
    path = parquet(tmp_path / "t.parquet", {"question": column, "answer": ["b"] * 20_000})
    with pytest.raises(SourceError, match=r"t\.parquet unpacks to more than 200 times its size"):
        read(path)


def test_large_unpacked_text_is_read_with_a_higher_limit(tmp_path: Path) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), pa.array(["a" * MB]))
    path = parquet(tmp_path / "t.parquet", {"question": column, "answer": ["b"] * 300})
    source = open_source(DataConfig(source=str(path), limits=LimitsConfig(max_unpacked_ratio=1e6)))
    sizes = [len(list(block.rows())) for block in source.blocks()]
    assert sum(sizes) == 300
    assert max(sizes) <= 5


def test_a_page_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "t.parquet",
        {"question": ["a" * 3000] * 20_000, "answer": ["b"] * 20_000},
        use_dictionary=False,
        data_page_size=1 << 30,
    )
    limits = {"max_row_mb": 4, "max_unpacked_ratio": 1e6}
    with pytest.raises(SourceError, match=r"row group 1: what can only be unpacked at once is longer than 4 MB"):
        read(path, limits=limits)
    assert len(read(path, limits={**limits, "max_row_mb": 16})) == 20_000


def test_list_of_millions_of_values_is_refused(tmp_path: Path) -> None:
    numbers = pa.ListArray.from_arrays(pa.array([0, 20_000_000], pa.int32()), pa.nulls(20_000_000, pa.int8()))
    path = parquet(tmp_path / "t.parquet", {"question": numbers, "answer": ["b"]})
    with pytest.raises(SourceError, match="unpacks to more than 200 times its size"):
        read(path)
    with pytest.raises(SourceError, match="a row is longer than 32 MB"):
        read(path, limits={"max_unpacked_ratio": 1e9})


def test_a_cell_of_a_database_has_a_largest_size(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "t.db")) as connection, connection:
        connection.execute(
            "CREATE VIEW t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20) "
            "SELECT hex(zeroblob(1000000 * i)) AS question, i AS answer FROM n"
        )
    source = f"sqlite:///{tmp_path}/t.db"
    with pytest.raises(SourceError, match=r"t\.db: a cell is longer than 32 MB\..*--max-row-mb"):
        read(source)
    assert len(read(source, limits={"max_row_mb": 64})) == 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere.csv").write_text("question,answer\nsecret,b\n")
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.csv").write_text("question,answer\na,b\n")
    return folder


@pytest.mark.parametrize("below", ["", "/*.csv", "/**/*.csv"])
def test_one_that_leads_out_of_the_folder_is_refused(folder: Path, below: str) -> None:
    (folder / "link.csv").symlink_to(folder.parent / "elsewhere.csv")
    with pytest.raises(SourceError, match=r"link\.csv is a link to .*elsewhere\.csv, which is outside") as caught:
        read(f"{folder}{below}")
    assert "--follow-links" in str(caught.value)
    assert "secret" in [row.values["question"] for row in read(f"{folder}{below}", follow_links=True)]


def test_one_that_stays_inside_is_followed_and_one_that_is_named(folder: Path) -> None:
    (folder / "link.csv").symlink_to("inner/a.csv")
    assert len(read(folder)) == 2
    (folder.parent / "named.csv").symlink_to("elsewhere.csv")
    assert len(read(folder.parent / "named.csv")) == 1


def test_link_to_an_unread_file_is_ignored(folder: Path) -> None:
    (folder / "README").symlink_to("/etc/hostname")
    assert len(read(folder)) == 1


def test_folders_that_lead_in_circles_end(folder: Path) -> None:
    for name in ("one", "two", "three"):
        (folder / name).symlink_to(folder)
    assert len(read(f"{folder}/**/*.csv")) == len(read(folder)) == 1


def test_device_is_refused(folder: Path) -> None:
    (folder / "zero.csv").symlink_to("/dev/zero")
    with pytest.raises(SourceError, match=r"zero\.csv is not a regular file"):
        read(folder)


def test_reading_reports_progress_without_any_rows(tmp_path: Path) -> None:
    path = gzipped(tmp_path / "t.json.gz", [b"[", *[b" " * MB] * 40, EXAMPLE, b"]"])
    told: list[int] = []
    open_source(DataConfig(source=str(path)), told.append)
    assert len(told) > 10
    assert told == sorted(told)
