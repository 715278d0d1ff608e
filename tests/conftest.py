"""Every test starts without the user's own settings, in a directory of its own."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from postgresql import missing

from retune.local.embedded_server import embedded_server

# The hundreds of programs that the tests start share compiled bytecode: each would compile its modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell that starts the tests in the background, or under nohup, ignores these, and every program that the tests
# start would inherit that. A handler ends with this process; programs start with the usual behaviour.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda _number, _frame: None)

# No test fails because the machine is slow or busy.
settings.register_profile("retune", deadline=None)
settings.load_profile("retune")

_OURS = ("OPENAI_", "RETUNE_", "PREFECT_")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files so that those that take longest come first: one that came last would leave cores idle.

    Those with slow tests do, and then those with few tests, since they start programs.
    """
    tests = Counter(item.path for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, tests[item.path]))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, address or home of the person who runs the tests is seen by them, and nothing lands in the checkout."""
    for name in list(os.environ):
        if name.startswith(_OURS) and not name.startswith("PREFECT_TEST"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RETUNE_HOME", str(tmp_path / "retune-home"))


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real Prefect API, used by all flows, tasks and commands: a server takes seconds to start."""
    # Here, since it takes a while.
    from prefect_api import clients_of, prefect_on_sqlite, session_prefect_server

    with ExitStack() as stack:
        if missing():
            stack.enter_context(prefect_on_sqlite())
        else:
            # A busy SQLite stays locked for a minute now and then.
            stack.enter_context(clients_of(stack.enter_context(session_prefect_server(tmp_path_factory))))
        yield


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    """A CSV file of 30 examples that a test may change."""
    # Here, since it takes a while.
    from step_runs import ROWS, write_csv

    return Path(write_csv(tmp_path / "tickets.csv", ROWS))


@pytest.fixture(scope="session")
def training_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a real fine-tuning server in a process of its own."""
    with embedded_server(tmp_path_factory.mktemp("training-server")) as running:
        yield running.base_url
