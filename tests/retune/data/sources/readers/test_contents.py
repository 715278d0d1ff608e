"""Files whose names say another format than what stands in them, or none: read by that, and said."""

import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retune.config import DataConfig, SourceFormat
from retune.data.sources.blocks import Source
from retune.data.sources.open import open_source
from retune.errors import SourceError

ROWS = [{"question": f"Where is card {number}?", "answer": f"On its way, {number}."} for number in range(12)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "question,answer\n" + "".join(f'"{row["question"]}","{row["answer"]}"\n' for row in ROWS)


def opened(path: Path, content: str, **settings: Any) -> Source:
    path.write_bytes(content.encode())
    return open_source(DataConfig(source=str(path), **settings))


def read(source: Source) -> list[dict[str, str]]:
    return [row.values for block in source.blocks() for row in block.rows()]


def layout(source: Source) -> list[str]:
    return [note.finding.message for note in source.notes() if note.finding.kind == "layout"]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("train.txt", LINES, SourceFormat.JSONL),
        ("export", CSV, SourceFormat.CSV),
        ("export.dat", CSV.replace('","', '"\t"').replace("n,a", "n\ta"), SourceFormat.CSV),
        ("train.json5", json.dumps(ROWS, indent=1), SourceFormat.JSON),
        ("train.jsonl", json.dumps(ROWS), SourceFormat.JSON),
        ("train.jsonl", CSV, SourceFormat.CSV),
        ("train.csv", LINES, SourceFormat.JSONL),
        ("train.csv", json.dumps(ROWS), SourceFormat.JSON),
        ("train.tsv", CSV, SourceFormat.CSV),
        ("train.json", CSV, SourceFormat.CSV),
    ],
)
def test_file_content_decides_its_format(tmp_path: Path, name: str, content: str, found: SourceFormat) -> None:
    source = opened(tmp_path / name, content)
    assert read(source) == ROWS
    assert source.files[0].format == found
    [note] = layout(source)
    assert note.endswith(f"it is read as {found.upper()}, by its content.")


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.csv", CSV), ("t.tsv", CSV.replace(",", "\t")), ("t.jsonl", LINES), ("t.json", json.dumps(ROWS))],
)
def test_nothing_is_said_where_the_name_is_right(tmp_path: Path, name: str, content: str) -> None:
    source = opened(tmp_path / name, content)
    read(source)
    assert layout(source) == []


@pytest.mark.parametrize("content", ["Q: Where is it?\nA: Here.\n\nQ: Who?\nA: Me, of course.\n", "# FAQ\n\nYes, no\n"])
def test_prose_is_refused_with_what_to_write(tmp_path: Path, content: str) -> None:
    with pytest.raises(SourceError, match=r"by its name or its content") as caught:
        opened(tmp_path / "faq.txt", content)
    assert str(caught.value.hint).startswith("Write the examples as CSV")


def test_a_format_that_was_named_is_the_one_that_is_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected a JSON object, found the start of a JSON array"):
        opened(tmp_path / "t.jsonl", json.dumps(ROWS), format=SourceFormat.JSONL)


@pytest.mark.parametrize("name", ["t.docx", "t.xml", "t.duckdb", "t.jsonl.xz", "t.yaml"])
def test_formats_that_can_not_be_read_say_how_to_write_another(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="which can't be read") as caught:
        opened(tmp_path / name, "anything")
    assert caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        "".join(json.dumps(row, indent=2) + "\n" for row in ROWS),
        "".join(map(json.dumps, ROWS)),
        LINES.replace("}", "},"),
    ],
    ids=["over several lines", "in one line", "commas after the lines"],
)
@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_objects_one_after_the_other_are_rows(tmp_path: Path, name: str, content: str) -> None:
    source = opened(tmp_path / name, content)
    assert read(source) == ROWS
    assert "objects stand one after the other, and each is read as a row." in layout(source)


def test_a_broken_line_among_others_is_a_fault_of_that_line(tmp_path: Path) -> None:
    source = opened(tmp_path / "t.jsonl", LINES.replace("}\n", "} x\n", 1))
    rows = [row for block in source.blocks() for row in block.rows()]
    assert [row.number for row in rows if row.findings] == [1]


@pytest.mark.parametrize(
    "document",
    [
        {"version": 1, "data": {"items": ROWS}},
        {f"q{number}": row for number, row in enumerate(ROWS)},
        {row["question"]: row["answer"] for row in ROWS},
        {"kept": ROWS, "dropped": ROWS[:2]},
        [[row["question"], row["answer"]] for row in ROWS],
    ],
    ids=["deeper", "by id", "question to answer", "two arrays", "pairs"],
)
def test_the_command_that_is_named_writes_what_can_be_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    document: dict[str, Any] | list[list[str]],
    jq: Callable[[str, Path], str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as caught:
        opened(tmp_path / "FILE.json", json.dumps(document))
    command = str(caught.value.hint).partition("jq -c '")[2]
    program, _, _ = command.partition("'")
    (tmp_path / "FILE.jsonl").write_text(jq(program, tmp_path / "FILE.json"))
    assert read(open_source(DataConfig(source="FILE.jsonl"))) == ROWS


@pytest.fixture
def jq() -> Callable[[str, Path], str]:
    try:
        subprocess.run(["jq", "--version"], check=True, capture_output=True)
    except OSError:
        pytest.skip("jq is not installed")
    return lambda program, path: (
        subprocess.run(["jq", "-c", program, str(path)], check=True, capture_output=True, text=True).stdout
    )


def test_lists_one_a_line_are_named_by_the_command_of_the_hint(tmp_path: Path, jq: Callable[[str, Path], str]) -> None:
    with pytest.raises(SourceError) as caught:
        opened(tmp_path / "t.jsonl", "".join(json.dumps(list(row.values())) + "\n" for row in ROWS))
    program = str(caught.value.hint).split("'")[1]
    assert read(opened(tmp_path / "named.jsonl", jq(program, tmp_path / "t.jsonl"))) == ROWS


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ("// mine\n[]", "no comments"),
        ('[{"a": 1},\n]', "Remove the comma"),
        ("{'a': 1}", "double quotes"),
        ('{"question": {"0": "a", "1": "b"}, "answer": {"0": "c", "1": "d"}}', "orient='records'"),
        ('{"question": ["a", "b"], "answer": ["c", "d"]}', "orient='records'"),
    ],
)
def test_the_hint_fits_what_is_wrong_with_a_document(tmp_path: Path, content: str, advice: str) -> None:
    with pytest.raises(SourceError) as caught:
        opened(tmp_path / "t.json", content)
    assert advice in str(caught.value.hint)


def test_an_archive_is_read_as_the_files_in_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("train.jsonl", LINES)
        archive.writestr("test.csv", CSV.replace("card", "book"))
        archive.writestr("__MACOSX/._train.jsonl", b"\0\5")
    source = open_source(DataConfig(source=str(tmp_path / "data.zip")))
    assert len(read(source)) == 2 * len(ROWS)
    assert [file.split for file in source.files] == ["test", "train"]
    assert [file.name.partition("::")[0] for file in source.unread()] == ["zip://__MACOSX/._train.jsonl"]
