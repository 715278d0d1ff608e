"""What a command loads before it does anything: libraries that take long to import wait until they are needed."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = {"numpy", "pandas", "pyarrow", "scipy", "sklearn", "prefect", "openai", "matplotlib", "plotly", "fastapi"}
READS_SETTINGS = {"pydantic", "yaml", "asyncio"}


def loaded(code: str, *arguments: str, **environment: str) -> set[str]:
    """The slow libraries that a fresh process has loaded at its end."""
    found = f"sorted({SLOW | READS_SETTINGS} & set(sys.modules))"
    report = f"import atexit, sys; atexit.register(lambda: print({found}, file=sys.stderr))"
    result = subprocess.run(
        [sys.executable, "-c", f"{report}\n{code}", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return set(ast.literal_eval(result.stderr.splitlines()[-1]))


def test_help_loads_nothing_that_the_settings_need() -> None:
    assert loaded("from retune.cli.app import main; main()", "--help") == set()


@pytest.mark.parametrize("arguments", [["run", "--help"], ["server", "start", "--help"]])
def test_a_command_s_help_loads_nothing_slow(arguments: list[str]) -> None:
    assert not loaded("from retune.cli.app import main; main()", *arguments) & SLOW


def test_help_looks_at_no_files_of_runs(tmp_path: Path) -> None:
    readable = tmp_path / "runs"
    readable.mkdir()
    readable.chmod(0o755)  # Whatever the umask of the tests that ran before.

    loaded("from retune.cli.app import main; main()", "--help", RETUNE_HOME=str(tmp_path))

    assert readable.stat().st_mode & 0o777 == 0o755


@pytest.mark.slow
def test_a_worker_loads_what_draws_and_learns_when_it_does() -> None:
    slow = loaded("import flows.retrain, flows.overview")

    assert not slow & {"matplotlib", "sklearn", "scipy", "fastapi"}
