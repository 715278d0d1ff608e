import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_servers_benchmark_runs_as_its_docstring_says():
    command = [sys.executable, "benchmarks/server.py", "--quick", "--only", "lists"]
    done = subprocess.run(command, cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "Events of the longest job: p50 and p95" in done.stdout
