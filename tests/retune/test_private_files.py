"""Files for their owner alone, in processes whose umask is somebody else's choice."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from retune import private_files
from retune.files import atomic_write, write_bytes
from retune.private_files import keep_files_private, make_private_directory, private_opener


@pytest.fixture(autouse=True)
def own_umask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(private_files, "_user_umask", None)
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_private_under_any_umask(tmp_path: Path) -> None:
    os.umask(0)
    write_bytes(tmp_path / "a" / "b" / "file", b"")
    with open(tmp_path / "a" / "log", "ab", opener=private_opener):
        pass

    assert {mode(path) for path in (tmp_path / "a", tmp_path / "a" / "b")} == {0o700}
    assert {mode(path) for path in (tmp_path / "a" / "b" / "file", tmp_path / "a" / "log")} == {0o600}


def test_what_users_place_themselves_has_their_umask(tmp_path: Path) -> None:
    for _ in range(2):
        with atomic_write(tmp_path / "fixed.jsonl", is_private=False):
            assert [mode(path) for path in tmp_path.iterdir()] == [0o644]
        assert mode(tmp_path / "fixed.jsonl") == 0o644
        (tmp_path / "fixed.jsonl").unlink()
        keep_files_private(tmp_path / "home")


def test_processes_make_private_files_whatever_makes_them(tmp_path: Path) -> None:
    keep_files_private(tmp_path)
    (tmp_path / "library").touch()

    assert mode(tmp_path / "library") == 0o600


def test_an_open_home_is_closed_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("runs", "watch", "server", "prefect", "logs", "results"):
        (home / name).mkdir(parents=True)
    (home / "runs" / "train.jsonl").touch()
    (home / "runs" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").touch()

    assert keep_files_private(home) == 8
    assert keep_files_private(home) == 0

    assert [mode(path) for path in (home, home / "runs", home / "runs" / "train.jsonl")] == [0o700, 0o700, 0o600]
    assert mode(tmp_path / "elsewhere") == 0o644


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "runs").mkdir(parents=True)
    (project / "page.html").touch()

    assert keep_files_private(project) == 0

    assert keep_files_private(project / "page.html") == 0
    assert [mode(path) for path in (project, project / "runs", project / "page.html")] == [0o755, 0o755, 0o644]


def test_a_group_keeps_the_home_that_was_given_to_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o2775)

    assert keep_files_private(home) == 1
    make_private_directory(home / "runs")
    write_bytes(home / "runs" / "train.jsonl", b"")
    (home / "library").touch()

    assert (mode(home), mode(home / "runs")) == (0o2770, 0o2770)
    assert (mode(home / "runs" / "train.jsonl"), mode(home / "library")) == (0o660, 0o660)
