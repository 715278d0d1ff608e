"""A real Prefect API for the flow tests."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def with_prefect_api(prefect_api: None) -> None:
    """Flows run against the session's Prefect API."""
