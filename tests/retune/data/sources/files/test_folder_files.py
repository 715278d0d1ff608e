"""What of a folder is read, and that every other file is named."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from retune.cli.app import app
from retune.config import DataConfig, SourceFormat
from retune.data.sources.blocks import Source
from retune.data.sources.open import open_source
from retune.errors import EmptySourceError, SourceError

TABLE = "question,answer\n" + "".join(f"Where is order {n}?,On its way {n}\n" for n in range(30))
OTHERS = {
    "README.md": False,
    "LICENSE": False,
    "dataset_infos.json": False,
    "state.json": False,
    "_SUCCESS": False,
    ".gitattributes": False,
    "~$january.xlsx": False,
    "plot.png": False,
    "march.txt": True,
    "april.doc": True,
    "may": True,
    "june.zip": True,
}


def write(folder: Path, **contents: Any) -> None:
    for name, content in contents.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def open_folder(folder: Path, **settings: Any) -> Source:
    return open_source(DataConfig(source=str(folder), **settings))


def names(source: Source) -> list[str]:
    return [file.name.rpartition("/")[2] for file in source.files]


def test_every_file_that_is_not_read_is_named_and_a_likely_one_with_advice(tmp_path: Path) -> None:
    (tmp_path / "january.csv").write_text(TABLE)
    (tmp_path / "_delta_log").mkdir()
    for name in OTHERS:
        (tmp_path / name).write_text("x")
    source = open_folder(tmp_path)
    assert names(source) == ["january.csv"]
    unread = {file.name.removeprefix(f"{tmp_path}/"): file.may_hold_examples for file in source.unread()}
    assert unread == OTHERS | {"_delta_log/": False}
    reasons = {file.name.rpartition("/")[2]: file.reason for file in source.unread()}
    assert "rename it to end in .csv" in reasons["march.txt"]
    assert "unpack it" in reasons["june.zip"]
    assert "Save or export it as CSV UTF-8" in reasons["april.doc"]


@pytest.mark.parametrize("name", ["train.txt", "train", "train.data", "train.txt.gz"])
@pytest.mark.parametrize("beside", [{}, {"january.csv": TABLE.replace("order", "bike")}])
def test_text_in_a_known_format_is_read_as_if_it_were_named_alone(
    tmp_path: Path, name: str, beside: dict[str, str]
) -> None:
    content = "\n".join(json.dumps({"question": f"Where is {n}?", "answer": f"Here, {n}."}) for n in range(20)).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    for other, text in beside.items():
        (tmp_path / other).write_text(text)
    source = open_folder(tmp_path)
    assert sorted(names(source)) == sorted([name, *beside])
    assert sum(len(list(block.rows())) for block in source.blocks()) == 20 + 30 * len(beside)
    assert [note.finding.message for note in source.notes()] == [
        "its name says no format; it is read as JSONL, by its content."
    ]
    assert source.unread() == []


@pytest.mark.parametrize(
    "name", ["january.csv.part", "january.csv~", "january.csv.old", "january.csv.1", "january.orig"]
)
def test_copies_and_torn_downloads_of_data_files_are_left_out_and_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "january.csv").write_text(TABLE)
    (tmp_path / name).write_text(TABLE)
    source = open_folder(tmp_path)
    assert names(source) == ["january.csv"]
    [unread] = source.unread()
    assert unread.may_hold_examples
    assert unread.name.endswith(name)


def test_text_that_cant_be_read_is_left_out_with_its_own_fault(tmp_path: Path) -> None:
    (tmp_path / "january.csv").write_text(TABLE)
    (tmp_path / "february.txt").write_text(TABLE.replace("question,answer", "answer,answer", 1))
    source = open_folder(tmp_path)
    assert names(source) == ["january.csv"]
    [unread] = source.unread()
    assert '"answer"' in unread.reason


def test_text_with_other_columns_is_left_out_and_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, january__csv=TABLE, labels__txt="id\tname\n1\tcard\n2\tparcel\n")
    source = open_folder(tmp_path)
    assert names(source) == ["january.csv"]
    [unread] = source.unread()
    assert unread.reason == (
        f"by its content, it has the columns id, name, and {tmp_path}/january.csv has question, answer; name it "
        "by itself, or give it the same columns and the ending .csv"
    )


@pytest.mark.parametrize(
    "content", [b"", b"SQLite format 3\0" + bytes(90), b"\x1f\x8b", b"\xff\xfe\0\0", b"one\ntwo\n"]
)
def test_files_in_no_known_format_are_left_out_beside_others(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, january__csv=TABLE)
    for name in ("may", "may.txt", "may.gz"):
        (tmp_path / name).write_bytes(content)
    source = open_folder(tmp_path)
    assert names(source) == ["january.csv"]
    assert [file.may_hold_examples for file in source.unread()] == [True] * 3


def test_an_archive_is_named_with_what_reads_it(tmp_path: Path) -> None:
    write(tmp_path, january__csv=TABLE)
    with zipfile.ZipFile(tmp_path / "may.zip", "w") as archive:
        archive.writestr("may.csv", TABLE)
    [unread] = open_folder(tmp_path).unread()
    assert "name it by itself, or unpack it here" in unread.reason
    assert len(open_folder(tmp_path / "may.zip").sample()) == 30


def test_names_of_data_files_are_not_taken_for_metadata(tmp_path: Path) -> None:
    write(tmp_path, readme_questions__csv=TABLE, license__csv=TABLE, state__csv=TABLE)
    assert len(open_folder(tmp_path).files) == 3


def test_files_of_other_formats_than_the_one_that_was_named_are_named(tmp_path: Path) -> None:
    write(tmp_path, a__csv=TABLE, b__jsonl='{"question": "Where?", "answer": "Here."}\n')
    source = open_folder(tmp_path, format=SourceFormat.CSV)
    assert (names(source), [file.may_hold_examples for file in source.unread()]) == (["a.csv"], [True])


def test_json_without_rows_is_refused_if_it_is_the_only_file(tmp_path: Path) -> None:
    write(tmp_path, labels__json=json.dumps({"labels": [1, 2]}))
    with pytest.raises(SourceError, match="expected a JSON array of objects, found an object with the keys 'labels'"):
        open_folder(tmp_path)
    write(tmp_path, a__csv=TABLE)
    [unread] = open_folder(tmp_path).unread()
    assert (unread.may_hold_examples, unread.reason) == (
        True,
        "expected a JSON array of objects, found an object with the keys 'labels'.",
    )


def test_a_folder_with_nothing_to_read_says_what_to_do_with_what_is_there(tmp_path: Path) -> None:
    write(tmp_path, notes__txt="Tickets of May.")
    with pytest.raises(EmptySourceError, match=r"There is no data file in") as caught:
        open_folder(tmp_path)
    assert "notes.txt: no format that can be read ends in .txt; if it is CSV" in str(caught.value.hint)


def test_check_names_them_in_its_output_its_document_and_its_report(tmp_path: Path) -> None:
    write(tmp_path / "data", january__csv=TABLE, march__txt="Tickets of March.", README="Tickets")
    report = tmp_path / "report.json"
    runner = CliRunner()
    shown = runner.invoke(app, ["check", str(tmp_path / "data"), "--report", str(report)])
    assert shown.exit_code == 0, shown.output
    assert "not read" in shown.output
    assert "march.txt, README" in shown.output
    document = json.loads(runner.invoke(app, ["check", str(tmp_path / "data"), "--json"]).output)
    listed = {problem["file"] for group in document["groups"] for problem in group["first"]}
    assert {f"{tmp_path}/data/march.txt", f"{tmp_path}/data/README"} <= listed
    problems = {problem["kind"]: problem for problem in json.loads(report.read_text())["problems"]}
    assert problems["file_not_read"]["file"] == f"{tmp_path}/data/march.txt"
    assert problems["other_file"]["file"] == f"{tmp_path}/data/README"


@pytest.mark.parametrize("name", ["test.csv", "tickets_validation.csv"])
def test_what_is_named_for_a_split_and_stands_alone_is_warned_of(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TABLE)
    for source in (open_folder(tmp_path), open_folder(tmp_path / name)):
        assert "split_name_alone" in {note.finding.kind for note in source.notes()}
    assert list(open_folder(tmp_path, ignore_splits=True).notes()) == []


def test_a_split_that_is_declared_otherwise_is_not_warned_of(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text(TABLE.replace("answer\n", "answer,split\n").replace(" way", " way,test"))
    assert list(open_folder(tmp_path).notes()) == []
