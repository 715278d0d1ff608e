"""The real command on files of which a megabyte unpacks to hundreds: what it says, and how much memory it takes."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

MB = 1 << 20
EXAMPLE = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'


def check(source: Path, *flags: str) -> tuple[int, str, float]:
    """Its exit status, what it writes to standard error, and the most megabytes that any process of it takes."""
    errors = source.with_suffix(".stderr")
    with errors.open("wb") as stream:
        command = [sys.executable, "-m", "retune.cli.app", "check", str(source), *flags]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    per_kilobyte = 1 if sys.platform == "darwin" else 1024
    return process.returncode, errors.read_text(), used.ru_maxrss * per_kilobyte / MB


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("t.json.gz", (b"[", *[b" " * MB] * 250, EXAMPLE, b"]")),
        ("t.jsonl.gz", (EXAMPLE, b"\n", *[b"\n" * MB] * 250, EXAMPLE)),
    ],
)
def test_what_unpacks_to_hundreds_of_megabytes_is_refused_and_read_where_it_is_meant(
    tmp_path: Path, name: str, parts: tuple[bytes, ...]
) -> None:
    path = tmp_path / name
    with gzip.open(path, "wb", compresslevel=6) as stream:
        stream.writelines(parts)
    status, errors, megabytes = check(path)
    assert status == 2, errors
    assert "unpacks to more than 200 times its size" in errors.replace("\n", " ")
    assert "--max-unpacked-ratio" in errors
    assert megabytes < 400
    status, errors, megabytes = check(path, "--max-unpacked-ratio", "100000")
    assert status in (0, 1), errors
    assert megabytes < 400
