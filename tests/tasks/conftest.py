"""What the tests of steps share: a real Prefect API, and data of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings
from step_runs import Rows


@pytest.fixture(scope="session", autouse=True)
def with_prefect_api(prefect_api: None) -> None:
    """Steps run against the session's Prefect API."""


@pytest.fixture(autouse=True)
def steps_without_a_flow() -> Iterator[None]:
    with temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        yield


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    # Each test's data is its own, so that it finds no result of another test.
    return [(f"question {number} 質問 of {tmp_path.name}", f"answer {number % 3}") for number in range(60)]
