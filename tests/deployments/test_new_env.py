"""The file of secrets that docker-compose.yml reads."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "deployments").mkdir()
    shutil.copy(_ROOT / "deployments" / "new_env.py", tmp_path / "deployments")
    shutil.copy(_ROOT / ".env.example", tmp_path)
    return tmp_path


def _run(clone: Path) -> subprocess.CompletedProcess[str]:
    # -I -S: nothing but the standard library.
    command = [sys.executable, "-I", "-S", str(clone / "deployments" / "new_env.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _values(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_every_secret_that_compose_requires_is_filled_for_the_owner_alone(clone: Path) -> None:
    done = _run(clone)

    assert done.returncode == 0, done.stderr
    compose = (_ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    values = _values(clone / ".env")
    assert values.keys() == set(re.findall(r"\$\{(\w+):\?", compose))
    assert all(len(value) > 40 and value not in done.stdout for value in values.values())
    assert (clone / ".env").stat().st_mode & 0o777 == 0o600
    assert (clone / "data").is_dir()


def test_a_file_that_is_there_is_left_alone(clone: Path) -> None:
    _run(clone)
    before = (clone / ".env").read_bytes()

    done = _run(clone)

    assert done.returncode == 1
    assert "left alone" in done.stderr
    assert (clone / ".env").read_bytes() == before


def test_every_variable_that_compose_reads_is_in_the_example() -> None:
    compose = (_ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    example = (_ROOT / ".env.example").read_text(encoding="utf-8")

    assert set(re.findall(r"\$\{(\w+)", compose)) == set(re.findall(r"^(?:# )?([A-Z_]+)=", example, flags=re.MULTILINE))
