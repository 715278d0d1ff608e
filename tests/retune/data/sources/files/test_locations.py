import gzip
import os
import sqlite3
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from retune.config import SourceFormat
from retune.data.sources.files.locations import Location, find_files
from retune.errors import SourceError

ROWS = "".join(f"question {number * 7919 % 1000},label {number % 7}\n" for number in range(3000)).encode()


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.compress(content, "zstd", asbytes=True)
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd}


def find(source: Path | str, source_format: SourceFormat = SourceFormat.AUTO) -> list[Location]:
    return find_files(str(source), source_format)


def names(source: Path | str, source_format: SourceFormat = SourceFormat.AUTO) -> list[str]:
    return [location.name for location in find(source, source_format)]


def read(source: str) -> bytes:
    [location] = find(source)
    with location.open() as stream:
        return stream.read()


def make(folder: Path, *relatives: str, content: bytes = b"a,b\n") -> None:
    for relative in relatives:
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def memory() -> Iterator[str]:
    """The address of a folder of fsspec's own in memory."""
    folder = f"memory://{uuid.uuid4().hex}"
    yield folder
    files, path = fsspec.core.url_to_fs(folder)
    if files.exists(path):
        files.rm(path, recursive=True)


def put(address: str, content: bytes = b"a,b\n") -> None:
    with fsspec.open(address, "wb") as stream:
        stream.write(content)


def test_file_keeps_its_name_as_written(here: Path) -> None:
    make(here, "data/Tickets.CSV")
    [location] = find("data/../data/Tickets.CSV")
    assert location.name == "data/../data/Tickets.CSV"
    assert (location.size, location.packing, location.suffix) == (4, None, ".csv")
    with location.open() as stream:
        assert stream.seekable()
        assert stream.readline() == b"a,b\n"
        stream.seek(2)
        assert stream.read() == b"b\n"


@pytest.mark.parametrize("name", ["a[1].csv", "a?.csv", "a*.csv", "a b%20.csv", "${}.csv", "$HOME.csv", "::.csv"])
def test_odd_names_are_names(here: Path, name: str) -> None:
    make(here, name, "a1.csv")
    assert names(name) == [name]


def test_the_home_directory_is_found_and_shown_as_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    make(here, "x/a.csv")
    assert names("~/x/a.csv") == names("~/x") == names("~/*/a.csv") == ["~/x/a.csv"]


def test_variables_are_looked_up_and_shown_as_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", str(here))
    make(here, "x/a.csv")
    assert names("${DATA}/x/a.csv") == names("${DATA}/x") == names("${DATA}/*/a.csv") == ["${DATA}/x/a.csv"]
    with pytest.raises(SourceError, match="needs the environment variable NO_DATA, which is not set"):
        find("${NO_DATA}/a.csv")


def test_addresses_of_this_machine_are_its_paths(here: Path) -> None:
    make(here, "a b.csv")
    [location] = find(f"file://{here}/a%20b.csv")
    assert location.path == here / "a b.csv"
    with pytest.raises(SourceError, match=r"names the machine data; expected file:///PATH"):
        find("file://data/a.csv")


def test_a_missing_one_names_the_closest(here: Path) -> None:
    make(here, "tickets.csv", "other.csv", "notes.txt", ".tickets.cvs")
    with pytest.raises(SourceError, match=r"There is no file or folder tickest\.csv\. Did you mean tickets\.csv"):
        find("tickest.csv")
    with pytest.raises(SourceError, match=r"Data files there: other\.csv, tickets\.csv\."):
        find("zzz.parquet")
    with pytest.raises(SourceError, match=r"There is no folder nowhere either\."):
        find("nowhere/tickets.csv")
    with pytest.raises(SourceError, match=r"There is no file or folder tickets\.csv/x\.csv"):
        find("tickets.csv/x.csv")


def test_an_empty_one_is_an_error(here: Path) -> None:
    make(here, "a.csv", content=b"")
    with pytest.raises(SourceError, match=r"^a\.csv is empty\.$"):
        find("a.csv")


def test_a_pipe_is_an_error(here: Path) -> None:
    os.mkfifo("a.csv")
    with pytest.raises(SourceError, match=r"a\.csv is not a regular file"):
        find("a.csv")


@pytest.mark.parametrize("name", ["a\0.csv", "a" * 300 + ".csv"])
def test_impossible_file_name_is_an_error(here: Path, name: str) -> None:
    with pytest.raises(SourceError, match="Can't read "):
        find(name)


def test_one_that_may_not_be_read_is_an_error(here: Path) -> None:
    make(here, "a.csv", "closed/b.csv")
    (here / "a.csv").chmod(0)
    (here / "closed").chmod(0)
    program = f"""
import os, sys
if os.geteuid() == 0:
    os.chmod({str(here)!r}, 0o711)
sys.path[:] = {sys.path!r}
from retune.config import SourceFormat
from retune.data.sources.files.locations import find_files
from retune.data.sources.files.found_files import FoundFile
import retune.data.sources.files.remote
os.geteuid() or os.seteuid(65534)
for source in sys.argv[1:]:
    try:
        find_files(source, SourceFormat.AUTO)
    except ValueError as error:
        print(error)
"""
    sources = [str(here / "a.csv"), str(here / "closed"), str(here / "closed" / "b.csv")]
    done = subprocess.run([sys.executable, "-c", program, *sources], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"Can't read {source}: Permission denied." for source in sources]


def test_a_database_file_is_read_by_its_address(here: Path) -> None:
    with closing(sqlite3.connect("tickets.db")) as connection, connection:
        connection.execute("CREATE TABLE tickets (message text)")
    with pytest.raises(SourceError, match=r"tickets\.db is a SQLite database by .*: sqlite:///tickets\.db$"):
        find("tickets.db")


def test_one_that_goes_away_is_an_error(here: Path) -> None:
    make(here, "a.csv")
    [location] = find("a.csv")
    (here / "a.csv").unlink()
    with pytest.raises(SourceError, match=r"Can't read a\.csv: No such file or directory\."):
        location.open()


@pytest.fixture
def files(here: Path) -> None:
    make(here, "d/b.csv", "d/a.jsonl.gz", "d/c/x.parquet", "d/c/y.CSV.zst", "d/B.csv")
    make(here, "d/notes.md", "d/.hidden.csv", "d/.git/z.csv", "d/_temporary/z.csv", "d/README", "d/c/.csv")


@pytest.mark.usefixtures("files")
def test_a_folder_is_all_data_files_in_it_in_order() -> None:
    expected = ["d/B.csv", "d/a.jsonl.gz", "d/b.csv", "d/c/x.parquet", "d/c/y.CSV.zst"]
    assert names("d") == names("d/") == expected
    assert [location.suffix for location in find("d")] == [".csv", ".jsonl", ".csv", ".parquet", ".csv"]


@pytest.mark.usefixtures("files")
def test_of_a_format_only_its_files_count() -> None:
    assert names("d", SourceFormat.CSV) == ["d/B.csv", "d/b.csv", "d/c/y.CSV.zst"]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("d/*.csv", ["d/B.csv", "d/b.csv"]),
        ("d/[a-z].csv", ["d/b.csv"]),
        ("d/?.csv", ["d/B.csv", "d/b.csv"]),
        ("d/**/*.zst", ["d/c/y.CSV.zst"]),
        ("d/**", ["d/B.csv", "d/a.jsonl.gz", "d/b.csv", "d/c/x.parquet", "d/c/y.CSV.zst"]),
        ("*/c/x.*", ["d/c/x.parquet"]),
        ("d/*.md", ["d/notes.md"]),
        ("./d/b*", ["./d/b.csv"]),
        ("d/.*.csv", ["d/.hidden.csv"]),
        ("d/_*/*.csv", ["d/_temporary/z.csv"]),
        ("d/c*", None),
    ],
)
def test_a_pattern_is_the_files_that_match_it(pattern: str, expected: list[str] | None) -> None:
    if expected:
        assert names(pattern) == expected
    else:
        with pytest.raises(SourceError, match=r"No file matches d/c\*\."):
            find(pattern)


@pytest.mark.usefixtures("files")
def test_absolute_patterns_work(here: Path) -> None:
    assert names(here / "d" / "b*") == [str(here / "d/b.csv")]


@pytest.mark.usefixtures("files")
def test_nothing_found_says_what_is_there(here: Path) -> None:
    with pytest.raises(SourceError, match=r"No file matches d/\*\.parquet\. Data files there: B\.csv, a\.jsonl"):
        find("d/*.parquet")
    with pytest.raises(SourceError, match=r"No file matches e/\*\.csv\. There is no folder e/\."):
        find("e/*.csv")
    (here / "empty").mkdir()
    with pytest.raises(SourceError, match=r"There is no data file in empty; known endings are \.csv, \.tsv, "):
        find("empty")
    with pytest.raises(SourceError, match=r"There is no data file in d; known endings are \.pkl, \.pickle\."):
        find("d", SourceFormat.PICKLE)


@pytest.mark.usefixtures("files")
def test_an_empty_file_among_others_is_an_error(here: Path) -> None:
    make(here, "d/c/z.csv", content=b"")
    for source in ("d", "d/*/*.csv"):
        with pytest.raises(SourceError, match=r"d/c/z\.csv is empty\. Fill it, or move it elsewhere\."):
            find(source)


@pytest.mark.usefixtures("files")
def test_a_link_that_leads_nowhere_is_an_error(here: Path) -> None:
    (here / "d" / "link.csv").symlink_to("nowhere.csv")
    with pytest.raises(SourceError, match="No such file or directory"):
        find("d")


@pytest.mark.usefixtures("files")
def test_link_to_a_parent_folder_ends_the_walk(here: Path) -> None:
    (here / "d" / "loop").symlink_to(here / "d")
    assert len(find("d")) == 5


@pytest.mark.parametrize("packing", [None, *PACKERS])
def test_a_file_is_read(memory: str, packing: str | None) -> None:
    packed = PACKERS[packing](ROWS) if packing else ROWS
    put(f"{memory}/a.csv.gz", packed)
    [location] = find(f"{memory}/a.csv.gz")
    assert (location.name, location.size, location.packing) == (f"{memory}/a.csv.gz", len(packed), packing)
    assert location.path is None
    assert read(f"{memory}/a.csv.gz") == ROWS


def test_folders_and_patterns_are_found(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for relative in ("b.csv", "a.csv", "c/x.jsonl", "notes.md", ".hidden.csv", "_delta_log/0.json"):
        put(f"{memory}/{relative}")
    expected = [f"{memory}/a.csv", f"{memory}/b.csv", f"{memory}/c/x.jsonl"]
    assert names(memory) == names(f"{memory}/") == expected
    assert names(f"{memory}/*.csv") == expected[:2]
    assert names(f"{memory}/**/*.jsonl") == expected[2:]
    monkeypatch.setenv("PLACE", memory)
    assert names("${PLACE}") == [*names("${PLACE}/*"), "${PLACE}/c/x.jsonl"]
    assert names("${PLACE}/*") == ["${PLACE}/a.csv", "${PLACE}/b.csv"]


def test_missing_remote_file_names_the_nearest_one(memory: str) -> None:
    put(f"{memory}/tickets.csv")
    with pytest.raises(SourceError, match=r"There is no file .*tickest\.csv\. Did you mean tickets\.csv\?"):
        find(f"{memory}/tickest.csv")
    with pytest.raises(SourceError, match=r"No file matches .*/\*\.parquet\."):
        find(f"{memory}/*.parquet")
    with pytest.raises(SourceError, match=r"nothing is known of addresses that start with foo://"):
        find("foo://bucket/a.csv")
    put(f"{memory}/empty.csv", b"")
    with pytest.raises(SourceError, match=r"empty\.csv is empty"):
        find(f"{memory}/empty.csv")


def test_a_file_that_appeared_since_is_found(memory: str) -> None:
    put(f"{memory}/a.csv")
    assert len(find(memory)) == 1
    put(f"{memory}/b.csv")
    assert len(find(memory)) == 2


@pytest.mark.parametrize(
    ("scheme", "package", "extra"),
    [
        ("s3", "s3fs", "s3"),
        ("gs", "gcsfs", "gcs"),
        ("abfs", "adlfs", "azure"),
        ("https", "aiohttp", "http"),
    ],
)
def test_a_missing_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    with pytest.raises(SourceError, match=rf'The package {package} is missing.*pip install "retune\[{extra}\]"'):
        find(f"{scheme}://bucket/a.csv")


def test_a_file_in_an_archive_is_read(here: Path) -> None:
    with zipfile.ZipFile(here / "all.zip", "w") as archive:
        archive.writestr("x/a.csv", ROWS)
    assert read(f"zip://x/a.csv::{here}/all.zip") == ROWS
    assert names(f"zip://x/*.csv::{here}/all.zip") == [f"zip://x/a.csv::{here}/all.zip"]
