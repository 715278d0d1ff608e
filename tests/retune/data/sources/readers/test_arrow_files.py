"""Arrow files: streams, files, what Hugging Face's libraries write; and forged ones, which are refused in time."""

import json
import random
import struct
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest
from pyarrow import feather

from retune.config import DataConfig, LimitsConfig, SourceFormat
from retune.data.sources.blocks import Row, Source
from retune.data.sources.open import open_source
from retune.errors import SourceError

QUESTIONS = ["Where is my card?", "カードはどこですか？", "Why?"] * 40
ANSWERS = ["On its way.", "発送済みです。", "Because."] * 40
TABLE = pa.table({"question": QUESTIONS, "answer": ANSWERS})
ROWS = [Row(n, {"question": q, "answer": a}) for n, (q, a) in enumerate(zip(QUESTIONS, ANSWERS, strict=True), start=1)]


def write(
    path: Path, table: pa.Table, *, is_stream: bool = False, compression: Literal["lz4", "zstd"] | None = None
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    make = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with make(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=50)
    return path


def open_arrow(path: Path, **settings: LimitsConfig) -> Source:
    return open_source(DataConfig(source=str(path), **settings))


def read(source: Source) -> list[Row]:
    return [row for block in source.blocks() for row in block.rows()]


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("is_stream", [True, False])
def test_files_and_streams_give_the_same_rows(
    tmp_path: Path, is_stream: bool, compression: Literal["lz4", "zstd"] | None
) -> None:
    source = open_arrow(write(tmp_path / "t.arrow", TABLE, is_stream=is_stream, compression=compression))
    assert read(source) == ROWS
    assert (source.files[0].format, source.columns) == (SourceFormat.ARROW, ("question", "answer"))
    assert sum(block.source_bytes for block in source.blocks()) <= (source.files[0].bytes or 0)


def test_feather_and_packed_files_are_read(tmp_path: Path) -> None:
    feather.write_feather(TABLE, str(tmp_path / "t.feather"))
    assert read(open_arrow(tmp_path / "t.feather")) == ROWS
    path = write(tmp_path / "p.arrow", TABLE, is_stream=True)
    packed = tmp_path / "q.arrow.gz"
    packed.write_bytes(pa.compress(path.read_bytes(), "gzip", asbytes=True))
    assert read(open_arrow(packed)) == ROWS


def test_categories_and_views_are_text_and_what_is_nested_stays(tmp_path: Path) -> None:
    messages: list[list[dict[str, str | None]]]
    messages = [[{"role": "user", "content": "Hi"}], [{"role": "user", "content": None}]]
    columns = {
        "a": pa.array(["x", "y"]).dictionary_encode(),
        "b": pa.array(["a text that is longer than twelve bytes", None], pa.string_view()),
        "messages": pa.array(messages),
    }
    first, second = read(open_arrow(write(tmp_path / "t.arrow", pa.table(columns))))
    assert first.values == {"a": "x", "b": "a text that is longer than twelve bytes", "messages": messages[0]}
    assert second.values == {"a": "y", "b": None, "messages": [{"role": "user"}]}


def label_table() -> pa.Table:
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": ["no", "yes"], "_type": "ClassLabel"}}
    table = pa.table({"text": ["Ready?", "Sure?", "Really?"], "label": [1, 0, -1]})
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def test_the_splits_of_a_saved_dictionary_are_those_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for split in ("train", "test"):
        write(tmp_path / split / "data-00000-of-00001.arrow", TABLE, is_stream=True)
        write(tmp_path / split / "cache-1f2e.arrow", TABLE, is_stream=True)
        (tmp_path / split / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
        (tmp_path / split / "dataset_info.json").write_text("{}")
    source = open_arrow(tmp_path)
    assert [(file.split, file.columns) for file in source.files] == [
        ("test", ("question", "answer")),
        ("train", ("question", "answer")),
    ]
    assert len(source.unread()) == 7
    assert not any(file.may_hold_examples for file in source.unread())


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_numbers_of_labels_are_read_as_their_names_and_that_is_said(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    if ending == "arrow":
        write(path, label_table())
    else:
        pa.parquet.write_table(label_table(), path)
    source = open_arrow(path)
    assert [row.values["label"] for row in read(source)] == ["yes", "no", None]
    [note] = source.notes()
    assert note.finding.message == 'the numbers in the column "label" are read as the labels that they stand for.'


LIMITS = LimitsConfig(max_row_mb=4)


def refuse(path: Path, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(open_arrow(path, limits=LIMITS))


def test_forged_arrow_length_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.arrow", TABLE, is_stream=True)
    content = path.read_bytes()
    body = pa.ipc.read_message(content[content.index(b"\xff\xff\xff\xff", 8) :]).body
    assert body is not None
    real = struct.pack("<q", body.size)
    for length, message in (
        (1 << 40, "has a batch of more than"),
        (30_000_000, "it ends in a message"),
        (-8, "negative"),
    ):
        path.write_bytes(content.replace(real, struct.pack("<q", length), 1))
        refuse(path, message)


def test_a_packed_buffer_that_unpacks_to_a_terabyte(tmp_path: Path) -> None:
    text = "x" * 1000
    path = write(tmp_path / "t.arrow", pa.table({"question": [text] * 50}), is_stream=True, compression="zstd")
    path.write_bytes(path.read_bytes().replace(struct.pack("<q", 50_000), struct.pack("<q", 1 << 40)))
    refuse(path, "has a batch of more than 32 MB")


def test_a_text_that_is_there_once_and_stands_in_every_row(tmp_path: Path) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), pa.array(["x" * 1_000_000]))
    refuse(write(tmp_path / "t.arrow", pa.table({"a": column})), "unpacks to more than 200 times its size")


def test_rows_that_take_no_bytes(tmp_path: Path) -> None:
    column = pa.nulls(50_000_000)
    path = tmp_path / "t.arrow"
    with pa.ipc.new_stream(str(path), pa.schema([("a", pa.null())])) as writer:
        writer.write_batch(pa.record_batch([column], names=["a"]))
    refuse(path, "unpacks to more than 200 times its size")


def test_types_whose_values_are_shared(tmp_path: Path) -> None:
    column: pa.RunEndEncodedArray[Any, Any]
    column = pa.RunEndEncodedArray.from_arrays(pa.array([1 << 30], pa.int32()), pa.array(["x"]))
    refuse(write(tmp_path / "t.arrow", pa.table({"a": column.slice(0, 3)})), r'the column "a" has the type')


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_damaged_bytes_are_an_error_or_other_rows_and_nothing_else(
    tmp_path: Path, compression: Literal["lz4", "zstd"] | None
) -> None:
    path = write(tmp_path / "t.arrow", TABLE, compression=compression)
    content, draw = path.read_bytes(), random.Random(7)
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read(open_arrow(path, limits=LIMITS))
        except SourceError:
            continue


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"FEA1" + bytes(100), "is Feather version 1"),
        (b"PAR1" + bytes(100), "is a Parquet file by its first bytes; expected Arrow"),
        (b"ARROW1\0\0", "can't be read as Arrow"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f", "the head of a message has"),
        (b"question,answer\n" * 9, "the head of a message has"),
    ],
)
def test_invalid_arrow_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.arrow").write_bytes(content)
    refuse(tmp_path / "t.arrow", message)
