"""One Prefect server with a password, events and triggers for the tests of what it is told."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from postgresql import PostgreSQL, missing
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect_process import PrefectServer, Processes

_CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    if why := missing():
        pytest.skip(why)
    directory = tmp_path_factory.mktemp("prefect-server")
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_HOME": str(directory)}
    processes = Processes(directory, {**quiet, "PYTHONPATH": str(_CHECKOUT)})
    with ExitStack() as stack:
        # Not below `directory`, which PostgreSQL's own user may not enter. On SQLite a busy server refuses writes.
        database = PostgreSQL(Path(stack.enter_context(TemporaryDirectory(prefix="retune-")))).create()
        stack.callback(database.stop)
        stack.callback(processes.end_all)
        url = database.new_database().set(drivername="postgresql+asyncpg")
        server = PrefectServer(processes, url.render_as_string(hide_password=False), "admin:a-password").start()
        processes.environment |= server.client_variables
        yield server


@pytest.fixture
def prefect_client_settings(prefect_server: PrefectServer) -> Iterator[None]:
    """Clients in this process speak to the server."""
    settings = {PREFECT_API_URL: f"{prefect_server.url}/api", PREFECT_API_AUTH_STRING: prefect_server.auth_string}
    with temporary_settings(settings):
        yield
