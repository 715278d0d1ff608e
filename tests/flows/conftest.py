"""A real Prefect API for the flow tests."""

from collections.abc import Iterator

import pytest
from prefect.settings import (
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="session", autouse=True)
def prefect_api() -> Iterator[None]:
    # Otherwise whoever waits for an event to be recorded waits five seconds.
    settings = {PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL: 0.2, PREFECT_SERVER_ANALYTICS_ENABLED: False}
    with (
        temporary_settings(settings),
        prefect_test_harness(server_startup_timeout=180),
    ):
        yield


@pytest.fixture(autouse=True)
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting a browser takes seconds; the test that looks at images asks for it."""
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chromium")
