"""A real Prefect API for the flow tests."""

from collections.abc import Iterator

import pytest
from postgresql import missing
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect_on_sqlite import QUICK_EVENTS_SECONDS, prefect_on_sqlite
from prefect_template import prefect_on_postgresql, shared_directory


@pytest.fixture(scope="session", autouse=True)
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """On PostgreSQL where there is one: a busy SQLite stays locked for a minute now and then."""
    if missing():
        with prefect_on_sqlite():
            yield
        return
    flush = {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": str(QUICK_EVENTS_SECONDS)}
    shared = shared_directory(tmp_path_factory)
    with prefect_on_postgresql(shared, tmp_path_factory.mktemp("prefect"), **flush) as server:
        settings = {PREFECT_API_URL: f"{server.url}/api", PREFECT_API_AUTH_STRING: server.auth_string}
        with temporary_settings(settings):
            yield
