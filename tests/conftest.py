"""Every test starts without the user's own settings, in a directory of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from retune.server.embedded import embedded_server

_OURS = ("OPENAI_", "RETUNE_", "PREFECT_")
# Of these each file takes a minute or more; begun last, they would run while the other workers have nothing to do.
_SLOW_FIRST = ("tests/system/", "tests/flows/", "tests/retune/cli/", "tests/deployments/", "tests/retune/server/")


def pytest_xdist_auto_num_workers() -> int:
    """Three workers on two cores: about a third of their time they wait for processes. `-n auto` asks this."""
    return min(6, (os.cpu_count() or 1) * 3 // 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow files first; within a file the order stays."""

    def place(item: pytest.Item) -> int:
        return next((place for place, start in enumerate(_SLOW_FIRST) if item.nodeid.startswith(start)), 9)

    items.sort(key=place)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, address or home of the person who runs the tests is seen by them, and nothing lands in the checkout."""
    for name in list(os.environ):
        if name.startswith(_OURS) and not name.startswith("PREFECT_TEST"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RETUNE_HOME", str(tmp_path / "retune-home"))


@pytest.fixture(scope="session")
def training_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a real fine-tuning server in a process of its own."""
    with embedded_server(tmp_path_factory.mktemp("training-server")) as running:
        yield running.base_url
