"""The `retune` command as a process of its own."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from preloaded import run_preloaded

Retune = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def retune(tmp_path: Path) -> Retune:
    """Runs `retune` with arguments in a directory of its own, and returns when it has ended."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        return run_preloaded(
            "retune.cli.app",
            arguments,
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200", **environment},
            stdin=stdin,
            # The usual one; that of the tests' own process is set by the commands that it runs in itself.
            umask=0o022,
            timeout=280,
        )

    return run
