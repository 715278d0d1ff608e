import json
from pathlib import Path
from typing import Any

import pytest

from retune.config import SourceFormat
from retune.data.sources.blocks import BLOCK_BYTES, Row, describe_location
from retune.data.sources.files.locations import find_files
from retune.data.sources.readers.json_arrays import open_json
from retune.data.sources.readers.reader import FileReader
from retune.errors import SourceError

OBJECTS: list[dict[str, Any]] = [{"text": "Where?", "n": 1}, {"text": "カード", "n": [None]}]
ROWS = [Row(1, OBJECTS[0]), Row(2, OBJECTS[1])]


def open_document(directory: Path, content: bytes | str) -> FileReader:
    path = directory / "t.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    [location] = find_files(str(path), SourceFormat.AUTO)
    [reader] = open_json(location)
    return reader


def read(reader: FileReader) -> list[Row]:
    return [row for block in reader.blocks(0) for row in block.rows()]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(OBJECTS),
        json.dumps(OBJECTS, indent=2).replace("\n", "\r\n"),
        "\ufeff" + json.dumps(OBJECTS, ensure_ascii=False),
        json.dumps({"data": OBJECTS, "count": 2, "tags": []}),
        json.dumps({"data": OBJECTS}, indent=1),
    ],
    ids=["one line", "indented", "byte order mark", "inside an object", "inside an object, indented"],
)
def test_an_array_is_read_wherever_it_stands(tmp_path: Path, content: str) -> None:
    reader = open_document(tmp_path, content)
    assert read(reader) == ROWS
    assert (reader.format, reader.unit, reader.columns) == (SourceFormat.JSON, "row", ("text", "n"))
    assert reader.notes.windows_line_ends == content.count("\r\n")


def test_jsonl_by_the_name_of_json_is_read_as_what_it_is(tmp_path: Path) -> None:
    reader = open_document(tmp_path, "\n".join(map(json.dumps, OBJECTS)))
    assert read(reader) == ROWS
    assert (reader.format, reader.unit) == (SourceFormat.JSONL, "line")


def test_a_large_array_comes_in_blocks(tmp_path: Path) -> None:
    objects = [{"text": "x" * 1_000, "n": number} for number in range(3 * BLOCK_BYTES // 1_000)]
    reader = open_document(tmp_path, json.dumps(objects))
    blocks = list(reader.blocks(0))
    assert len(blocks) == 4
    assert [row.values["n"] for block in blocks for row in block.rows()] == list(range(len(objects)))
    assert sum(block.source_bytes for block in blocks) == reader.location.size


@pytest.mark.parametrize(
    ("element", "message"),
    [
        ("17", "expected a JSON object, found 17."),
        ('{"a": NaN}', "not valid JSON (NaN is not JSON)."),
        ('"\\u202e"', r'expected a JSON object, found "\u202e".'),
    ],
)
def test_an_element_that_is_no_row_is_named_and_the_next_are_read(tmp_path: Path, element: str, message: str) -> None:
    first, bad, last = read(open_document(tmp_path, f'[{{"a": 1}}, {element}, {{"a": 2}}]'))
    assert (first, last) == (Row(1, {"a": 1}), Row(3, {"a": 2}))
    assert (bad.number, [tuple(finding) for finding in bad.findings]) == (2, [("not_json", message)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"t\.json is empty: its JSON array has no elements"),
        (" \n", r"t\.json is empty: there is nothing in it but white space"),
        (
            '[{"a": 1},\n {"a" 2}]',
            r"t\.json, line 2, column 7: not valid JSON \(Expecting ':' delimiter; found '2}\]'\)",
        ),
        ('[{"a": 1} {"a": 2}]', r"t\.json, line 1, column 11: not valid JSON \(Expecting ',' delimiter"),
        ('[{"a": 1}, ', r"t\.json, line 1, column 12: not valid JSON \(Expecting value; found the end of the file\)"),
        ('[{"a": 1}, ]', r"t\.json, line 1, column 12: not valid JSON \(Expecting value"),
        ('[{"a": 1}]\n]', r"t\.json, line 2, column 1: not valid JSON \(Extra data"),
        ('[{"a": ' + "[" * 100_000, r"t\.json, row 1: not valid JSON \(nested too deeply\)"),
        (
            '{"labels": [1, 2]}',
            r"expected a JSON array of objects, found an object with the keys 'labels'",
        ),
        ("17", r"expected a JSON array of objects, found 17\. Write the examples as"),
        (b'[{"a": "\xe9"}]', r"t\.json, line 1: the byte 0xe9 is not UTF-8\. Save"),
        (json.dumps(OBJECTS).encode("utf-16"), r"t\.json is UTF-16"),
    ],
)
def test_json_without_an_array_of_objects_is_refused(tmp_path: Path, content: bytes | str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(open_document(tmp_path, content))


CHAT = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
SHARED = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "Here."}]


@pytest.mark.parametrize(("element", "key"), [(CHAT, "messages"), (SHARED, "conversations")])
def test_list_of_messages_in_an_array_is_a_conversation(
    tmp_path: Path, element: list[dict[str, str]], key: str
) -> None:
    reader = open_document(tmp_path, json.dumps([element, {key: element}]))
    assert read(reader) == [Row(1, {key: element}), Row(2, {key: element})]
    assert reader.notes.layout == [f'the elements are lists without a key; each is read as "{key}"']


def test_a_list_of_anything_else_is_named_as_json_has_it(tmp_path: Path) -> None:
    [first, _] = read(open_document(tmp_path, '[[{"from": "human"}, null, true, "a long enough text"], {"a": 1}]'))
    assert first.findings[0].message == 'expected a JSON object, found [{"from": "human"}, null, true, "a long ….'


def test_a_document_that_is_one_conversation_is_one_row(tmp_path: Path) -> None:
    assert read(open_document(tmp_path, json.dumps({"messages": CHAT, "id": 7}, indent=1))) == [
        Row(1, {"messages": CHAT, "id": 7})
    ]


def test_arrays_that_are_named_after_splits_are_files_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"version": 1, "train": OBJECTS, "test": OBJECTS[:1]}))
    [location] = find_files(str(path), SourceFormat.AUTO)
    train, test = open_json(location)
    assert (read(train), read(test)) == (ROWS, ROWS[:1])
    files = [train.source_file, test.source_file]
    assert [file.split for file in files] == ["train", "test"]
    assert describe_location(files, 1, 1) == f"{path}, test, row 1"
