import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.text.jsonl import read_jsonl, write_jsonl
from retune.errors import DataError, RunDirectoryError, SourceError

GOLDEN = Path(__file__).parents[1] / "golden" / "chat.jsonl"
BODIES: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "system", "content": "Answer in JSON."},
            {"role": "user", "content": "カードが届きません。\nいつ届きますか？"},
            {"role": "assistant", "content": '{"intent": "delivery", "urgency": "high"}'},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "你好 \u2028 \x00\x7f\t😀"},
            {"role": "assistant", "content": "\ud800"},
        ],
        "parallel_tool_calls": False,
    },
]

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_bytes_are_those_of_the_golden_file(tmp_path: Path) -> None:
    facts = write_jsonl(tmp_path / "train.jsonl", BODIES)
    content = facts.path.read_bytes()
    assert content == GOLDEN.read_bytes()
    assert (facts.examples, facts.bytes, facts.sha256) == (2, len(content), hashlib.sha256(content).hexdigest())


def test_golden_file_reads_back() -> None:
    assert list(read_jsonl(GOLDEN)) == BODIES


@settings(deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(st.text(), JSON_VALUES, max_size=3), max_size=5))
def test_what_is_written_reads_back(tmp_path_factory: pytest.TempPathFactory, bodies: Any) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "x.jsonl"
    facts = write_jsonl(path, bodies)
    assert list(read_jsonl(path)) == bodies
    assert facts.examples == len(bodies) == path.read_bytes().count(b"\n")


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010), max_size=6))
def test_lone_surrogates_survive(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "x.jsonl"
    write_jsonl(path, [{"text": text}])
    # JSON itself reads a high surrogate before a low one as the one character that they spell.
    assert list(read_jsonl(path)) == [json.loads(json.dumps({"text": text}))]


def test_an_older_file_stays_when_an_example_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("old\n")
    with pytest.raises(DataError, match=r"^can't be written as JSON"):
        write_jsonl(path, [{"a": 1}, {"a": float("nan")}])
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


FILL_THE_DISK = """
import resource, sys
from pathlib import Path
from typing import Any
from retune.data.text.jsonl import write_jsonl
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
write_jsonl(Path(sys.argv[1]), ({"text": "x" * 100, "number": number} for number in range(1000)))
"""


def test_an_older_file_stays_when_the_disk_fills(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("old\n")
    run = subprocess.run([sys.executable, "-c", FILL_THE_DISK, path], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert f"RunDirectoryError: Can't write {path}: File too large. Make room" in run.stderr
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(RunDirectoryError, match="Can't write"):
        write_jsonl(tmp_path / "run" / "train.jsonl", BODIES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'{"a": 1}\n\n  {"a": 1 2}\n',
            r"x\.jsonl, line 3: not valid JSON at column 11 \(Expecting ',' delimiter; found '2}'",
        ),
        (b'{"a": 1}\n{"a": \n', r"x\.jsonl, line 2: not valid JSON at column .*the end of the line"),
        (b'{"a": NaN}\n', r"x\.jsonl, line 1: not valid JSON \(NaN is not JSON\)"),
        (b'{"a": ' + b"[" * 100_000, r"x\.jsonl, line 1: not valid JSON \(nested too deeply\)"),
        (b'{"a": ' + b"1" * 5000 + b"}", r"x\.jsonl, line 1: not valid JSON \(Exceeds the limit"),
        (b'{"a": 1}\n17\n', r"x\.jsonl, line 2: expected a JSON object, found '17'\."),
        (b'{"a": 1}\n{"a": "caf\xe9"}\n', r"x\.jsonl, line 2: the byte 0xe9 is not UTF-8 \(column 11\)\. Save"),
        ('{"a": 1}\n'.encode("utf-16"), r"x\.jsonl is UTF-16; expected UTF-8\."),
        (b'[\n  {"a": 1},\n  {"a": 2}\n]\n', r"x\.jsonl, line 1: not valid JSON at column 2"),
        (b'[{"a": 1}, {"a": 2}]', r"x\.jsonl, line 1: expected a JSON object, found a JSON array"),
    ],
    ids=["broken", "cut off", "NaN", "deep", "long number", "number", "latin-1", "utf-16", "array", "array, one line"],
)
def test_a_broken_line_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        list(read_jsonl(path))


def test_byte_order_mark_crlf_and_blank_lines_are_read_over(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": 2}')
    assert list(read_jsonl(path)) == [{"a": 1}, {"a": 2}]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"Can't read .*x\.jsonl: No such file"):
        list(read_jsonl(tmp_path / "x.jsonl"))
