"""One Prefect server with a password, events and triggers for the tests of what it is told."""

from collections.abc import Iterator

import pytest
from postgresql import missing
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect_process import PrefectServer
from prefect_template import prefect_on_postgresql, shared_directory


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    if why := missing():
        pytest.skip(why)
    shared = shared_directory(tmp_path_factory)
    with prefect_on_postgresql(shared, tmp_path_factory.mktemp("prefect-server")) as server:
        yield server


@pytest.fixture
def prefect_client_settings(prefect_server: PrefectServer) -> Iterator[None]:
    """Clients in this process speak to the server."""
    settings = {PREFECT_API_URL: f"{prefect_server.url}/api", PREFECT_API_AUTH_STRING: prefect_server.auth_string}
    with temporary_settings(settings):
        yield
