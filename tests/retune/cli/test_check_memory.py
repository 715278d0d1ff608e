"""The real command on files of which a megabyte unpacks to hundreds: what it says, and how much memory it takes."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MB = 1 << 20
EXAMPLE = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'


# A new process counts what its parent held when it was forked, so a small one in between starts the command.
_MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def check(source: Path, *flags: str) -> tuple[int, str, float]:
    """Its exit status, what it writes to standard error, and the most megabytes that any process of it takes."""
    command = [sys.executable, "-m", "retune.cli.app", "check", str(source), *flags]
    done = subprocess.run([sys.executable, "-c", _MEASURE, *command], capture_output=True, text=True, check=True)
    status, peak = map(int, done.stdout.split())
    per_kilobyte = 1 if sys.platform == "darwin" else 1024
    return status, done.stderr, peak * per_kilobyte / MB


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("t.json.gz", (b"[", *[b" " * MB] * 250, EXAMPLE, b"]")),
        ("t.jsonl.gz", (EXAMPLE, b"\n", *[b"\n" * MB] * 250, EXAMPLE)),
    ],
)
def test_highly_compressed_file_is_refused_without_a_limit(tmp_path: Path, name: str, parts: tuple[bytes, ...]) -> None:
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
