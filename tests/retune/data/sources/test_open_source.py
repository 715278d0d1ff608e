"""Sources: every format and every place gives the same rows, and what can't be read says why."""

import gzip
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pytest

from retune.config import DataConfig, SourceFormat
from retune.data.sources.blocks import Row
from retune.data.sources.open import FileSource, open_source
from retune.errors import SourceError

# Without the time of packing: tests that run side by side must have the same names.
_gzip = partial(gzip.compress, mtime=0)

QUESTIONS = ["Where is my card?", "カードはどこですか？"]
ANSWERS = ["card_arrival", "カード"]
VALUES = [{"text": question, "category": answer} for question, answer in zip(QUESTIONS, ANSWERS, strict=True)]


def open_files(source: Path | str, **settings: Any) -> FileSource:
    opened = open_source(DataConfig(source=str(source), **settings))
    assert isinstance(opened, FileSource)
    return opened


def read(source: FileSource) -> list[Row]:
    """Every row, by way of another process, as it were."""
    blocks = (pickle.loads(pickle.dumps(block, protocol=5)) for block in source.blocks())  # noqa: S301  (our own)
    return [row for block in blocks for row in block.rows()]


def pack(path: Path, packing: Literal["gzip", "zstd"]) -> Path:
    packed = path.with_name(f"{path.name}.{'gz' if packing == 'gzip' else 'zst'}")
    with pa.CompressedOutputStream(str(packed), packing) as stream:
        stream.write(path.read_bytes())
    path.unlink()
    return packed


@pytest.fixture
def table_files(tmp_path: Path) -> Path:
    """The same table in every format."""
    frame = pd.DataFrame({"text": QUESTIONS, "category": ANSWERS})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "semicolons.csv", index=False, sep=";", encoding="utf-8-sig")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    frame.to_json(tmp_path / "t.json", orient="records")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_pickle(tmp_path / "t.pkl")
    return tmp_path


@pytest.mark.parametrize("packing", [None, "gzip", "zstd"])
@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("t.csv", ("csv", "row", 2)),
        ("t.tsv", ("tsv", "row", 2)),
        ("semicolons.csv", ("csv", "row", 2)),
        ("t.jsonl", ("jsonl", "line", 1)),
        ("t.json", ("json", "row", 1)),
        ("t.parquet", ("parquet", "row", 1)),
        ("t.pkl", ("pickle", "row", 1)),
    ],
)
def test_every_format_gives_the_same_rows(
    table_files: Path, name: str, facts: tuple[str, str, int], packing: Literal["gzip", "zstd"] | None
) -> None:
    source_format, unit, first = facts
    path = table_files / name
    path = path if packing is None else pack(path, packing)
    source = open_files(path)
    rows = [Row(first + index, values) for index, values in enumerate(VALUES)]
    assert source.sample() == rows
    assert read(source) == rows
    [file] = source.files
    assert (file.name, file.format, file.unit) == (str(path), source_format, unit)
    assert (file.bytes, file.columns) == (path.stat().st_size, ("text", "category"))
    assert sum(block.source_bytes for block in source.blocks()) == path.stat().st_size


def test_the_format_may_be_said_where_the_name_does_not(table_files: Path) -> None:
    path = (table_files / "t.csv").rename(table_files / "t.txt")
    assert len(read(open_files(path, format=SourceFormat.CSV))) == 2


def test_an_unknown_ending_is_explained(tmp_path: Path) -> None:
    (tmp_path / "t.docs").write_bytes(b"Dear all")
    with pytest.raises(
        SourceError, match=r"Can't tell the format of .*t\.docs by its name or its content; known .*--format csv, "
    ):
        open_files(tmp_path / "t.docs")


def test_database_is_not_a_file_format(table_files: Path) -> None:
    with pytest.raises(SourceError, match=r"t\.csv is a file; the format sql is for a database's address"):
        open_files(table_files / "t.csv", format=SourceFormat.SQL)


def test_reading_a_csv_imports_none_of_what_other_formats_need(table_files: Path) -> None:
    script = (
        "import sys; from retune.config import DataConfig; from retune.data.sources.open import open_source; "
        "list(open_source(DataConfig(source=sys.argv[1])).blocks()); "
        "print({'sklearn', 'sqlalchemy', 'fsspec', 'pyarrow'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, table_files / "t.csv"], capture_output=True, text=True, check=True
    )
    assert run.stdout == "{'pyarrow'}\n"


def test_a_folder_is_one_source_in_the_order_of_its_names(table_files: Path) -> None:
    source = open_files(table_files)
    names = ["semicolons.csv", "t.csv", "t.json", "t.jsonl", "t.parquet", "t.pkl", "t.tsv"]
    assert [file.name for file in source.files] == [str(table_files / name) for name in names]
    assert [row.values for row in read(source)] == VALUES * 7
    assert [block.file for block in source.blocks()] == list(range(7))


def test_a_pattern_is_one_source(table_files: Path) -> None:
    source = open_files(table_files / "*.[ct]sv")
    assert [row.number for row in read(source)] == [2, 3] * 3
    assert source.name == str(table_files / "*.[ct]sv")


def test_a_folder_of_one_format_leaves_out_others(table_files: Path) -> None:
    assert len(open_files(table_files, format=SourceFormat.PARQUET).files) == 1


def test_sample_continues_in_the_next_file(table_files: Path) -> None:
    assert [row.values for row in open_files(table_files / "t.*").sample()] == VALUES * 6


def test_the_sample_is_a_hundred_rows_and_takes_none_away(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text\n" + "a\n" * 150)
    source = open_files(tmp_path / "t.csv")
    assert len(source.sample()) == len(source.sample()) == 100
    assert len(read(source)) == 150


def test_a_file_with_a_header_alone_is_one_of_many(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n")
    (tmp_path / "b.csv").write_text("text\na\n")
    source = open_files(tmp_path)
    assert source.sample() == read(source) == [Row(2, {"text": "a"})]


def test_what_is_odd_about_a_text_is_known_after_reading(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbftext\r\na\r\n")
    (tmp_path / "b.jsonl").write_bytes(b'{"text": 1}\n{"text": 2}\r\n')
    (tmp_path / "c.csv").write_bytes(b"text\na\n")
    source = open_files(tmp_path)
    read(source)
    assert [(note.file, *note.finding) for note in source.notes()] == [
        (0, "byte_order_mark", "the file starts with a byte order mark."),
        (0, "windows_line_ends", "2 lines end in CRLF."),
        (1, "windows_line_ends", "1 line ends in CRLF."),
    ]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so the tests of permissions run as somebody else."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", r"t\.csv is empty"),
        ("t.csv", b"text,category\n", r"t\.csv has a header and no rows\. Was the export cut off"),
        ("t.csv", b"text,category\n,\n\n \n", r"t\.csv has a header and no rows"),
        ("t.csv", b"\x89PNG\r\n\x1a\n", r"t\.csv is an image by its first bytes; expected CSV"),
        ("t.csv", b"PAR1", r"t\.csv is a Parquet file by its first bytes"),
        ("t.csv.gz", b"text,category\na,b\n", None),
        ("t.csv.gz", _gzip(b"text,category\na,b\n")[:-6], r"t\.csv\.gz is cut off or damaged"),
        ("t.jsonl.gz", _gzip(b'{"a": 1}\n' * 99_999)[:-8], r"t\.jsonl\.gz is cut off or damaged"),
        ("t.json.gz", _gzip(b"[1, 2")[:20], r"t\.json\.gz is cut off or damaged"),
        ("t.parquet.gz", _gzip(b"PAR1" * 99)[:20], r"t\.parquet\.gz is cut off or damaged"),
        (
            "t.csv.gz",
            _gzip(_gzip(b"text\na\n")),
            r"t\.csv\.gz is packed with gzip by .*packed twice",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, content: bytes, message: str | None) -> None:
    (tmp_path / name).write_bytes(content)
    if message is None:  # the ending says too much: it is read all the same
        assert read(open_files(tmp_path / name)) == [Row(2, {"text": "a", "category": "b"})]
        return
    with pytest.raises(SourceError, match=message):
        read(open_files(tmp_path / name))


def test_near_names_are_offered(table_files: Path) -> None:
    with pytest.raises(SourceError, match=r"There is no file .*t\.cvs\. Did you mean t\.csv or "):
        open_files(table_files / "t.cvs")


def test_a_folder_without_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("none")
    with pytest.raises(SourceError, match=r"no data file in .*; known endings are \.csv, "):
        open_files(tmp_path)


def test_files_with_headers_alone_are_no_source(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text\n")
    with pytest.raises(SourceError, match=r"has a header and no rows"):
        open_files(tmp_path)


def test_table_without_rows_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"text": []}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(SourceError, match=r"t\.parquet has columns and no rows\. Was the export cut off"):
        open_files(tmp_path / "t.parquet")


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text\na\n")
    path.chmod(0)
    with as_nobody(), pytest.raises(SourceError, match=r"Can't read .*t\.csv: Permission denied"):
        open_files(path)


def test_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(SourceError, match="is not a regular file"):
        open_files(tmp_path / "t.csv")


@pytest.mark.parametrize("source", ["-", "/dev/stdin"])
def test_standard_input_is_refused(source: str) -> None:
    with pytest.raises(SourceError, match=r"Can't read from standard input: .* Write it to a file first"):
        open_files(source)


def test_a_name_too_long_for_the_system_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"Can't read .*File name too long"):
        open_files(tmp_path / ("x" * 300 + ".csv"))


def test_banking77_loads(banking77: Path) -> None:
    rows = read(open_files(banking77))
    assert len(rows) == 10_003
    assert rows[0] == Row(2, {"text": "I am still waiting on my card?", "category": "card_arrival"})
    assert len({row.values["category"] for row in rows}) == 77


def test_progress_through_a_packed_file_is_by_its_packed_size(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text\n" + "".join(f"{number:x}{number**7:x}\n" for number in range(600_000)))
    path = pack(tmp_path / "t.csv", "zstd")
    shares = [block.source_bytes for block in open_files(path).blocks()]
    assert sum(shares) == path.stat().st_size
    assert max(shares) < 0.6 * sum(shares)
