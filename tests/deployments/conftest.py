"""One Prefect server for these tests alone: automations and limits would act on the runs of other tests."""

from collections.abc import Iterator

import pytest
from prefect_api import clients_of, session_prefect_server
from prefect_process import PrefectServer


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with session_prefect_server(tmp_path_factory) as server:
        yield server


@pytest.fixture
def prefect_client_settings(prefect_server: PrefectServer) -> Iterator[None]:
    """Clients in this process speak to the server."""
    with clients_of(prefect_server):
        yield
