import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.config import LimitsConfig, SourceFormat
from retune.data.sources.blocks import Row
from retune.data.sources.files.locations import find_files
from retune.data.sources.readers.jsonl_files import JsonLinesReader
from retune.errors import SourceError

LINES = st.sampled_from(
    [b'{"a": 1}', b'{"a": "\xe2\x80\xa8", "b": [{}]}', b"{}", b"", b" \t", b'{"a": ', b"17", b'{"a": "\xe9"}', b"\x0c"]
)


def write(directory: Path, content: bytes | str) -> Path:
    path = directory / "t.jsonl"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def open_jsonl(path: Path, **options: Any) -> JsonLinesReader:
    [location] = find_files(str(path), SourceFormat.AUTO)
    return JsonLinesReader(location, **options)


def read(path: Path, **options: Any) -> list[Row]:
    return [row for block in open_jsonl(path, **options).blocks(0) for row in block.rows()]


@settings(deadline=None, max_examples=100)
# A file with several bytes that are not UTF-8 is refused as one in another encoding.
@given(
    st.lists(LINES, max_size=8).filter(lambda lines: lines.count(b'{"a": "\xe9"}') < 2),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
    st.integers(1, 40),
)
def test_every_line_is_a_row_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes, has_last_end: bool, block_bytes: int
) -> None:
    content = end.join([b'{"first": 1}', *lines]) + (end if has_last_end else b"")
    path = write(tmp_path_factory.mktemp("jsonl"), content)
    reader = open_jsonl(path, block_bytes=block_bytes)
    blocks = [pickle.loads(pickle.dumps(block, protocol=5)) for block in reader.blocks(0)]  # noqa: S301  (our own bytes)
    rows = [row for block in blocks for row in block.rows()]
    assert rows == read(path)
    assert [row.number for row in rows] == [1, *(n for n, line in enumerate(lines, start=2) if line.strip(b" \t"))]
    assert sum(block.source_bytes for block in blocks) == len(content)
    assert reader.notes.windows_line_ends == (content.count(b"\n") if end == b"\r\n" else 0)


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        (b'{"a": 1 2}', "not_json", "not valid JSON at column 9 (Expecting ',' delimiter; found '2}')."),
        (b'{"a": ', "not_json", "not valid JSON at column 6 (Expecting value; found the end of the line)."),
        (b'{"a": NaN}', "not_json", "not valid JSON (NaN is not JSON)."),
        (b'{"a": -Infinity}', "not_json", "not valid JSON (-Infinity is not JSON)."),
        (b'{"a": ' + b"[" * 100_000, "not_json", "not valid JSON (nested too deeply)."),
        (b"17", "not_json", "expected a JSON object, found '17'."),
        (b'"\\u001b[31m\\u202e"', "not_json", "expected a JSON object, found '\"\\\\u001b[31m\\\\u202e\"'."),
        (b"[1]", "not_json", "expected a JSON object, found a JSON array."),
        ('{"é": "'.encode() + b'\xff"}', "not_utf8", "the byte 0xff is not UTF-8 (column 8)."),
        (b"\xef\xbb\xbf{}", "not_json", None),
        (b'{"a": 1} {"b": 2}', "not_json", "not valid JSON at column 10 (Extra data; found '{\"b\": 2}')."),
    ],
)
def test_a_bad_line_says_what_is_wrong_and_the_next_are_read(
    tmp_path: Path, line: bytes, kind: str, message: str | None
) -> None:
    path = write(tmp_path, b'{"a": 1}\n\n' + line + b'\n{"a": 2}\n')
    first, bad, last = read(path)
    assert (first, last) == (Row(1, {"a": 1}), Row(4, {"a": 2}))
    assert (bad.number, bad.values) == (3, {})
    [finding] = bad.findings
    assert finding.kind == kind
    assert message in (None, finding.message)


def test_the_line_of_invalid_json_is_found_far_into_a_file(tmp_path: Path) -> None:
    lines = ['{"text": "question", "category": "answer"}'] * 50_000
    lines[48_212] = '{"text": "question", "category": "answer'
    bad = [row for row in read(write(tmp_path, "\n".join(lines)), block_bytes=100_000) if row.findings]
    assert [row.number for row in bad] == [48_213]


@pytest.mark.slow
def test_a_line_of_fifty_megabytes_is_read_if_it_is_meant(tmp_path: Path) -> None:
    long = "x" * (50 << 20)
    path = write(tmp_path, f'{{"a": 1}}\n{{"a": "{long}"}}\n{{"a": 3}}\n')
    with pytest.raises(SourceError, match=r"line 2 is longer than 32 MB\..*--max-row-mb"):
        read(path)
    [location] = find_files(str(path), SourceFormat.AUTO, LimitsConfig(max_row_mb=64))
    rows = [row for block in JsonLinesReader(location).blocks(0) for row in block.rows()]
    assert [(row.number, len(str(row.values["a"]))) for row in rows] == [(1, 1), (2, len(long)), (3, 1)]


def test_byte_order_mark_and_blank_lines_are_read_over(tmp_path: Path) -> None:
    path = write(tmp_path, b'\xef\xbb\xbf\r\n{"a": 1}\r\n\r\n  \n{"b": 2}')
    reader = open_jsonl(path)
    assert read(path) == [Row(2, {"a": 1}), Row(5, {"b": 2})]
    assert reader.columns == ("a", "b")
    assert reader.notes.has_byte_order_mark


def test_keys_of_the_first_hundred_objects_are_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "\n".join(json.dumps({f"k{number}": 1, "same": 2}) for number in range(150)))
    assert open_jsonl(path).columns == ("k0", "same", *(f"k{number}" for number in range(1, 100)))


def test_a_first_line_that_is_broken_json_is_a_bad_row(tmp_path: Path) -> None:
    assert [row.number for row in read(write(tmp_path, '{"a": 1,}\n{"a": 2}\n')) if row.findings] == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n \n", r"t\.jsonl is empty: it has no line with anything in it"),
        (
            b'\n [{"messages": []}]',
            r"t\.jsonl, line 2: expected .* found the start of a JSON array\. Use --format json ",
        ),
        (b'[\n  {"a": 1}\n]\n', r"t\.jsonl, line 1: expected .* the start of a JSON array\. .*jq -c"),
        (
            b"text,category\na,b\n",
            r"t\.jsonl, line 1: not valid JSON at column 1 .*found 'text,category'.* whole JSON obj",
        ),
        (b"17\n", r"t\.jsonl, line 1: expected a JSON object, found '17'"),
        (
            b'{\n  "a": 1\n}\n',
            r"t\.jsonl, line 1: not valid JSON at column 2 .* Every line must be one whole JSON object",
        ),
        ('{"a": 1}\n'.encode("utf-16"), r"t\.jsonl is UTF-16; expected UTF-8"),
        (b"PAR1", r"t\.jsonl is a Parquet file by its first bytes; expected JSONL"),
    ],
)
def test_invalid_jsonl_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_jsonl(write(tmp_path, content))


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, '{"a": 1}\n')
    reader = open_jsonl(path)
    path.write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(SourceError, match=r"t\.jsonl changed while it was read"):
        list(reader.blocks(0))
