import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]


def test_the_benchmark_of_data_preparation_runs_as_its_docstring_says() -> None:
    command = [sys.executable, "benchmarks/data_preparation.py", "--quick"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    labels = [line[:60].strip() for line in done.stdout.splitlines()]
    assert "5,000 rows as CSV" in labels
    assert "Retune with everything, against the usual script" in labels
    assert "1,525 rows as chat JSONL" in labels
    assert "Retune with everything, against the plain loop (at least 3)" in labels
    assert sum("growth with five times the rows" in label for label in labels) == 3


def test_the_servers_benchmark_runs_as_its_docstring_says() -> None:
    command = [sys.executable, "benchmarks/server.py", "--quick", "--only", "lists"]
    done = subprocess.run(command, cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "Events of the longest job: p50 and p95" in done.stdout
