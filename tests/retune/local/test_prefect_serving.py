"""Prefect's server as it starts for a second time: beside the look at the data, and without what it has done before."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import DEADLINE_SECONDS, wait_for

_COLLECTION = "import os; open(os.environ['LOADED'], 'a').write('{name}\\n')"


def start_and_stop(home: Path, packages: Path) -> list[str]:
    """Run Prefect's server until it answers and has the block types that it needs; the collections that it loaded."""
    loaded = home / "loaded"
    loaded.unlink(missing_ok=True)
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "retune.local.prefect_serving", "--home", str(home)],
        env={**os.environ, "PYTHONPATH": str(packages), "LOADED": str(loaded)},
    )
    try:
        wait_for((home / "address").exists, "the server's address", process=server)
        user, _, password = (home / "password").read_text().partition(":")
        api = f"{(home / 'address').read_text()}/api"
        secret = httpx.get(f"{api}/block_types/slug/secret", auth=(user, password), timeout=DEADLINE_SECONDS)
        assert secret.json()["name"] == "Secret"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(DEADLINE_SECONDS)
    return loaded.read_text().split() if loaded.exists() else []


def install_collection(packages: Path, name: str) -> None:
    information = packages / f"{name}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[prefect.collections]\n{name} = {name}\n")
    (packages / name).mkdir()
    (packages / name / "__init__.py").write_text(_COLLECTION.format(name=name))


@pytest.mark.slow
def test_collections_are_loaded_again_when_something_was_installed(tmp_path: Path) -> None:
    home, packages = tmp_path / "prefect", tmp_path / "packages"
    home.mkdir(mode=0o700)
    install_collection(packages, "first")
    assert start_and_stop(home, packages) == ["first"]
    assert start_and_stop(home, packages) == []
    install_collection(packages, "second")
    assert sorted(start_and_stop(home, packages)) == ["first", "second"]
    for path in home.glob("prefect.db*"):
        path.unlink()
    (home / "memo_store.toml").unlink()
    assert sorted(start_and_stop(home, packages)) == ["first", "second"]


@pytest.mark.slow
def test_a_run_that_is_refused_ends_the_server_that_it_started(retune: Any, tmp_path: Path) -> None:
    home = tmp_path / "retune-home" / "prefect"
    home.mkdir(parents=True, mode=0o700)
    (home / "prefect.db").touch()
    (tmp_path / "tickets.csv").write_text("message,answer\nHello,Hi\n")

    result = retune("run", "--data", "tickets.csv", "--user-column", "nothing", "--assistant-column", "answer")

    assert result.returncode == 1
    assert "nothing" in result.stderr
    assert "Prefect" not in result.stderr
    assert (home / "output.log").exists(), "it was started"
    assert not any(str(home) in command for command in command_lines())


def command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text())
        except OSError:  # It has ended meanwhile.
            continue
    return found
