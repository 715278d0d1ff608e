"""Unfinished work: in its place when it is finished, or nowhere."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from retune.errors import RunDirectoryError
from retune.staging import replace_directory, staging_directory


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_is_moved_away_stays_and_the_rest_goes(tmp_path: Path) -> None:
    parent = tmp_path / "runs"
    with staging_directory(parent) as directory:
        (directory / "finished").mkdir()
        (directory / "finished" / "a.txt").write_text("a")
        (directory / "scraps.txt").write_text("b")
        replace_directory(parent / "examples", directory / "finished")
    assert names(parent) == ["examples"]
    assert (parent / "examples" / "a.txt").read_text() == "a"


def test_the_directory_itself_can_be_moved(tmp_path: Path) -> None:
    with staging_directory(tmp_path) as directory:
        (directory / "a.txt").write_text("new")
        replace_directory(tmp_path / "examples", directory)
    with staging_directory(tmp_path) as directory:
        (directory / "b.txt").write_text("newer")
        replace_directory(tmp_path / "examples", directory)
    assert names(tmp_path) == ["examples"]
    assert names(tmp_path / "examples") == ["b.txt"]


def fail_in(parent: Path) -> None:
    with staging_directory(parent) as directory:
        (directory / "half.txt").write_text("half")
        raise ValueError("on purpose")


def test_nothing_stays_of_what_failed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="on purpose"):
        fail_in(tmp_path / "runs")
    assert names(tmp_path / "runs") == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from retune.staging import staging_directory
with staging_directory(Path({str(tmp_path)!r})) as directory:
    (directory / "half.txt").write_text("half")
    print("there", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        others = set(names(tmp_path))
        with staging_directory(tmp_path):
            # It is at work: nothing of it is touched.
            assert others < set(names(tmp_path))
        assert set(names(tmp_path)) == others
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert set(names(tmp_path)) == others
    with staging_directory(tmp_path) as directory:
        assert names(tmp_path) == sorted([directory.name, f"{directory.name}.lock"])


def test_a_place_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with (
        pytest.raises(RunDirectoryError, match=r"Can't write the run's directory .*out"),
        staging_directory(tmp_path / "out"),
    ):
        pass
