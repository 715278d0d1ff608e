"""`retune check` when it is asked to end, and when it is killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from check_command import Check, good_rows, write_table
from waiting import wait_for


def test_what_a_killed_check_left_is_removed_by_the_next_one(check: Check) -> None:
    write_table("tickets.csv", good_rows())
    code = (
        "import os, signal\n"
        "from retune.cli.working_directory import working_directory\n"
        "with working_directory() as directory:\n"
        "    (directory / 'rows').write_text('private')\n"
        "    print(directory, oct(directory.stat().st_mode & 0o777), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "TMPDIR": tempfile.gettempdir()}
    killed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    left, mode = killed.stdout.split()
    assert mode == "0o700"
    assert (Path(left) / "rows").exists()

    assert check("tickets.csv").status == 0

    assert not Path(left).exists()


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_stopped_half_way_it_leaves_nothing_behind(tmp_path: Path, sent: signal.Signals, status: int) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with (tmp_path / "long.csv").open("w") as stream:
        stream.write("question,answer\n")
        stream.writelines(
            f"How is number {number} {'word ' * 30}?,Answer {number} {'term ' * 20}\n" for number in range(150_000)
        )
    command = [sys.executable, "-m", "retune.cli.app", "check", "long.csv", "--fix", "fixed.jsonl"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: list(temporary.glob("retune-check-*/*")), "the first file", process=process)
    # As a terminal does: to all processes of the group.
    os.killpg(process.pid, sent)
    out, err = process.communicate(timeout=60)

    assert process.returncode == status, out + err
    assert out == ""
    expected = "" if sent is signal.SIGINT else f"Stopped by {sent.name}. Temporary files were removed.\n"
    assert err.endswith(expected)
    assert err.count("\n") <= 1, err
    assert list(temporary.glob("retune-check-*")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.csv", "temporary"]
