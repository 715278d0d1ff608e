"""What sources look like from outside, before and after they change."""

import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retune.config import DataConfig
from retune.data.sources.blocks import Row
from retune.errors import ConfigError, SourceError
from retune.watch.config import CountMethod, WatchConfig
from retune.watch.snapshot import SourceSnapshot, fingerprint_of_files, fingerprint_of_rows, take_snapshot

CSV = "q,a\nwhere,here\n"


def see(source: object, **data: str) -> SourceSnapshot:
    return take_snapshot(DataConfig(source=str(source), **data), WatchConfig())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "1.csv").write_text(CSV)
    (folder / "deep" / "2.csv").write_text(CSV)
    return folder


def append(path: Path) -> None:
    with path.open("a") as stream:
        stream.write("more,rows\n")


def rewrite_with_the_same_size_and_time(path: Path) -> None:
    before = path.stat()
    path.write_text(CSV.replace("here", "away"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_a_copy(path: Path) -> None:
    before = path.stat()
    copy = path.with_name(".copy")
    copy.write_text(CSV.replace("here", "away"))
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    copy.replace(path)


@pytest.mark.parametrize("change", [append, rewrite_with_the_same_size_and_time, replace_by_a_copy, Path.unlink])
@pytest.mark.parametrize("pattern", ["", "/**/*.csv"])
def test_a_change_of_one_file_changes_the_fingerprint(
    folder: Path, change: Callable[[Path], None], pattern: str
) -> None:
    before = see(f"{folder}{pattern}")
    assert see(f"{folder}{pattern}") == before
    change(folder / "deep" / "2.csv")
    assert see(f"{folder}{pattern}").fingerprint != before.fingerprint


def test_a_new_name_changes_the_fingerprint(folder: Path) -> None:
    before = see(folder)
    (folder / "1.csv").rename(folder / "3.csv")
    after = see(folder)
    assert after.fingerprint != before.fingerprint
    assert after.what == before.what == "2 files, 30 bytes"


def test_files_without_data_do_not_change_the_fingerprint(folder: Path) -> None:
    before = see(folder)
    (folder / "notes.md").write_text("x")
    (folder / ".3.csv.part").write_text("x")
    assert see(folder) == before


def test_text_that_may_be_read_by_what_stands_in_it_counts(folder: Path) -> None:
    before = see(folder)
    (folder / "3.txt").write_text("x")
    assert see(folder).fingerprint != before.fingerprint


def test_snapshot_opens_no_data_file(folder: Path) -> None:
    # Not even its first bytes: a bucket's owner pays for each request.
    opened: list[str] = []
    is_watched = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if is_watched and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(note)
    see(folder)
    assert [path for path in opened if path.endswith(".csv")] == []
    (folder / "1.csv").read_bytes()
    is_watched = False
    assert [Path(path).name for path in opened if path.endswith(".csv")] == ["1.csv"]


@pytest.mark.parametrize("source", ["data", "data/*.csv", "data/1.csv"])
def test_emptied_source_is_not_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(folder.parent)
    for path in folder.rglob("*.csv"):
        path.unlink()
    if source.endswith("1.csv"):
        (folder / "1.csv").touch()
    assert see(source).is_empty


@pytest.mark.parametrize("source", ["data", "data/*.csv", "data/1.csv"])
def test_a_source_that_is_gone_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(folder.parent)
    folder.rename("away")
    with pytest.raises(SourceError, match=r"There is no f"):
        see(source)


def test_a_bucket_is_listed_and_not_read(tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    root = f"/{tmp_path.name}"
    files.pipe({f"{root}/1.csv": CSV.encode(), f"{root}/2.csv": CSV.encode()})
    before = see(f"memory:/{root}")
    assert before.is_cheap
    assert see(f"memory:/{root}") == before
    files.pipe(f"{root}/2.csv", CSV.replace("here", "away").encode())
    after = see(f"memory:/{root}")
    assert after.fingerprint != before.fingerprint
    files.rm(root, recursive=True)
    assert see(f"memory:/{root}/*.csv").is_empty
    with pytest.raises(SourceError):
        see(f"memory:/{root}")


def test_archive_changes_are_found_by_checksums(tmp_path: Path) -> None:
    for text in (CSV, CSV.replace("here", "away")):
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
            archive.writestr(zipfile.ZipInfo("1.csv"), text)
        fingerprint = see(f"zip://1.csv::file://{tmp_path}/data.zip").fingerprint
        assert fingerprint == see(f"zip://1.csv::file://{tmp_path}/data.zip").fingerprint
        if text == CSV:
            first = fingerprint
    assert fingerprint != first


def test_no_secret_is_in_what_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDER", str(tmp_path))
    (tmp_path / "x.csv").write_text(CSV)
    snapshot = see("${FOLDER}/x.csv")
    assert snapshot.source == "${FOLDER}/x.csv"
    assert str(tmp_path) not in snapshot.model_dump_json()


def test_settings_that_do_not_fit_are_refused(folder: Path) -> None:
    data = DataConfig(source=str(folder))
    with pytest.raises(ConfigError, match="watermark_query needs a database"):
        take_snapshot(data, WatchConfig(watermark_query="SELECT 1"))
    with pytest.raises(ConfigError, match="needs watermark_query"):
        take_snapshot(data, WatchConfig(count=CountMethod.ROWS))


_FILES = st.dictionaries(st.text(min_size=1), st.tuples(st.none() | st.integers(0, 2**60), st.text()))


@given(_FILES, st.randoms())
def test_the_order_of_files_does_not_matter(files: dict[str, tuple[int | None, str]], random: object) -> None:
    listed = [(name, *facts) for name, facts in files.items()]
    shuffled = sorted(listed, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert fingerprint_of_files(listed) == fingerprint_of_files(shuffled)


@given(_FILES, _FILES)
def test_other_files_have_another_fingerprint(
    one: dict[str, tuple[int | None, str]], other: dict[str, tuple[int | None, str]]
) -> None:
    same = fingerprint_of_files((name, *facts) for name, facts in one.items()) == fingerprint_of_files(
        (name, *facts) for name, facts in other.items()
    )
    assert same == (one == other)


_ROWS = st.lists(st.tuples(st.integers(-3, 3), st.none() | st.text(max_size=2)), max_size=6)


def hash_rows(cells: list[tuple[int, str | None]]) -> tuple[str, int]:
    return fingerprint_of_rows(Row(place, {"id": cell[0], "text": cell[1]}) for place, cell in enumerate(cells))


@given(_ROWS, _ROWS)
def test_fingerprint_ignores_the_order_of_rows(
    one: list[tuple[int, str | None]], other: list[tuple[int, str | None]]
) -> None:
    assert hash_rows(one) == hash_rows(one[::-1])
    is_same = sorted(map(repr, one)) == sorted(map(repr, other))
    assert (hash_rows(one) == hash_rows(other)) == is_same


def test_a_change_of_the_test_split_s_file_changes_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    held_out = tmp_path / "held.csv"
    held_out.write_text(CSV)
    before = see(folder, test_source=str(held_out))
    assert before.fingerprint != see(folder).fingerprint
    assert before == see(folder, test_source=str(held_out))
    assert f"{held_out}: 1 file" in before.what
    append(held_out)
    assert see(folder, test_source=str(held_out)).fingerprint != before.fingerprint
