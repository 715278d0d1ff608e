"""Files packed with gzip, bzip2 or zstd, whole, cut off and damaged."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from retune.config import SourceFormat
from retune.data.sources.files.locations import Location, find_files
from retune.errors import SourceError

ROWS = "".join(f"question {number * 7919 % 1000},label {number % 7}\n" for number in range(3000)).encode()


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.compress(content, "zstd", asbytes=True)
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bz2": bz2.compress, "zstd": zstd}


def find(source: str) -> list[Location]:
    return find_files(source, SourceFormat.AUTO)


def read(source: str) -> bytes:
    [location] = find(source)
    with location.open() as stream:
        return stream.read()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.ZST", "a.csv.zstd", "a.csv.gzip", "a.csv.bz2"])
def test_format_is_decided_by_content_not_by_name(here: Path, packing: str, name: str) -> None:
    (here / name).write_bytes(PACKERS[packing](ROWS))
    [location] = find(name)
    assert (location.packing, location.suffix) == (packing, ".csv")
    assert location.size == (here / name).stat().st_size
    assert read(name) == ROWS
    with location.open() as stream:
        assert not stream.seekable()
        assert b"".join(stream) == ROWS


def test_plain_text_under_a_packed_name_is_plain_text(here: Path) -> None:
    (here / "a.csv.gz").write_bytes(ROWS)
    assert read("a.csv.gz") == ROWS


@pytest.mark.parametrize("packing", PACKERS)
def test_several_members_are_one_file(here: Path, packing: str) -> None:
    pack = PACKERS[packing]
    (here / "a.csv").write_bytes(pack(ROWS[:5000]) + pack(b"") + pack(ROWS[5000:]))
    assert read("a.csv") == ROWS


def test_a_zstd_file_may_start_with_a_frame_to_skip(here: Path) -> None:
    (here / "a.csv.zst").write_bytes(b"\x53\x2a\x4d\x18\x04\0\0\0skip" + zstd(ROWS))
    assert read("a.csv.zst") == ROWS


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("members", [1, 2])
def test_a_file_that_is_cut_off_is_never_just_shorter(here: Path, packing: str, members: int) -> None:
    one = PACKERS[packing](ROWS)
    start = len(one) * (members - 1)
    cuts = {*range(1, 40), *range(1000, len(one), 1000), *range(len(one) - 20, len(one))}
    path = here / ("a.csv." + {"gzip": "gz", "bz2": "bz2", "zstd": "zst"}[packing])
    for cut in cuts:
        path.write_bytes((one * members)[: start + cut])
        with pytest.raises(SourceError, match=r"^a\.csv\.\w+ is cut off or damaged: it can't be unpacked as "):
            read(path.name)


def test_a_file_that_is_damaged_is_an_error(here: Path) -> None:
    packed = bytearray(gzip.compress(ROWS))
    for place in (*range(10, len(packed) - 8, 1000), -6, -2):
        damaged = packed.copy()
        damaged[place] ^= 0xFF
        (here / "a.csv").write_bytes(damaged)
        with pytest.raises(SourceError, match="is cut off or damaged"):
            read("a.csv")


def test_other_packers_are_left_to_the_reader(here: Path) -> None:
    (here / "a.csv.xz").write_bytes(lzma.compress(ROWS))
    [location] = find("a.csv.xz")
    assert (location.packing, location.suffix) == (None, ".xz")
